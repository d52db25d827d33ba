//! Makes the compiled core loadable on the oldest TV engine that has WebAssembly.
//!
//! `wasm-build check FILE` refuses a module with an instruction beyond the first WebAssembly release (MVP),
//! with an import that the package does not provide, or with a stack that could grow into other memory.
//! `wasm-build bind IN DIR` is for measurements: it writes the JavaScript glue of a module that
//! wasm-bindgen has a part in, its TypeScript types and the module that belongs to them into DIR.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use wasm_bindgen_cli_support::Bindgen;
use wasmparser::{ConstExpr, DataKind, Operator, Parser, Payload, Validator, WasmFeatures};

const USAGE: &str = "usage: wasm-build bind IN.wasm DIR | wasm-build check FILE.wasm";

/// What the package gives its module: the module that it imports from, and the function.
const IMPORT: (&str, &str) = ("env", "grown");

/// The type of the function that the glue's caller hands the module's exports to.
const HAND_OVER: &str = "
/**
 * Hands over the exports of the compiled module, before anything else is called.
 */
export function __wbg_set_wasm(exports: WebAssembly.Exports): void;
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["bind", input, folder] => bind(Path::new(input), Path::new(folder)),
        ["check", file] => check_file(Path::new(file)),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wasm-build: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Written for bundlers, the glue leaves it to its caller to compile the module and to hand its exports
/// over: nothing in it is a syntax error in a classic script, as `import.meta` would be.
fn bind(input: &Path, folder: &Path) -> Result<()> {
    Bindgen::new()
        .input_path(input)
        .bundler(true)?
        .typescript(true)
        .remove_name_section(true)
        .remove_producers_section(true)
        .generate(folder)
        .with_context(|| format!("no glue for {}", input.display()))?;
    declare_glue(input, folder)
}

/// What a bundler would load first imports the module as if it were a script: it goes. The types move
/// to the glue itself, with the function that hands over the exports.
fn declare_glue(input: &Path, folder: &Path) -> Result<()> {
    let stem = input.file_stem().context("the input has no file name")?.to_string_lossy();
    let file = |name: &str| folder.join(format!("{stem}{name}"));
    std::fs::remove_file(file(".js"))?;
    let types = std::fs::read_to_string(file(".d.ts"))?;
    std::fs::remove_file(file(".d.ts"))?;
    std::fs::write(file("_bg.d.ts"), without_disposal(&types) + HAND_OVER)?;
    Ok(())
}

/// Without the one line that a program with types of 2022 or before can't read.
fn without_disposal(types: &str) -> String {
    types.split_inclusive('\n').filter(|line| !line.contains("[Symbol.dispose]")).collect()
}

fn check_file(file: &Path) -> Result<()> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    check(&bytes).with_context(|| file.display().to_string())
}

fn check(bytes: &[u8]) -> Result<()> {
    Validator::new_with_features(WasmFeatures::MVP)
        .validate_all(bytes)
        .context("not an MVP module, so it will not load on Chromium 63")?;
    let mut stack_top = None;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let (module, name) = import.map(|import| (import.module, import.name))?;
                    if (module, name) != IMPORT {
                        bail!("imports `{name}` from `{module}`, which the package does not have");
                    }
                }
            }
            Payload::GlobalSection(globals) => {
                for global in globals {
                    let global = global?;
                    if global.ty.mutable
                        && stack_top.replace(constant(&global.init_expr)?).is_some()
                    {
                        bail!("more than one mutable global: which one is the stack pointer?");
                    }
                }
            }
            Payload::DataSection(segments) => {
                for segment in segments {
                    check_above_stack(segment?.kind, stack_top)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The stack grows down from its top. At the bottom of the memory it ends in a trap; above data it would
/// silently overwrite that.
fn check_above_stack(kind: DataKind, stack_top: Option<i32>) -> Result<()> {
    let DataKind::Active { offset_expr, .. } = kind else {
        return Ok(());
    };
    let start = constant(&offset_expr)?;
    match stack_top {
        Some(top) if start < top => {
            bail!("data at {start} lies below the top of the stack at {top}")
        }
        _ => Ok(()),
    }
}

fn constant(expression: &ConstExpr) -> Result<i32> {
    match expression.get_operators_reader().read()? {
        Operator::I32Const { value } => Ok(value),
        other => bail!("{other:?} where a 32-bit constant belongs"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: [u8; 8] = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];

    fn module(sections: &[&[u8]]) -> Vec<u8> {
        let mut bytes = HEADER.to_vec();
        sections.iter().for_each(|section| bytes.extend_from_slice(section));
        bytes
    }

    /// One function of type i32 -> i32 whose body is `local.get 0`, the instruction given, `end`.
    fn function(instruction: &[u8]) -> Vec<u8> {
        let length = instruction.len() as u8;
        let mut code = vec![10, length + 6, 1, length + 4, 0, 0x20, 0];
        code.extend_from_slice(instruction);
        code.push(0x0b);
        module(&[&[1, 6, 1, 0x60, 1, 0x7f, 1, 0x7f], &[3, 2, 1, 0], &code])
    }

    fn imports(module_name: &str, name: &str) -> Vec<u8> {
        let mut import = vec![1, module_name.len() as u8];
        import.extend_from_slice(module_name.as_bytes());
        import.push(name.len() as u8);
        import.extend_from_slice(name.as_bytes());
        import.extend_from_slice(&[0, 0]);
        let mut section = vec![2, import.len() as u8];
        section.extend_from_slice(&import);
        module(&[&[1, 4, 1, 0x60, 0, 0], &section])
    }

    #[test]
    fn types_need_no_disposal() {
        let types = "class A {\n  free(): void;\n  [Symbol.dispose](): void;\n}\n";
        assert_eq!(without_disposal(types), "class A {\n  free(): void;\n}\n");
    }

    #[test]
    fn mvp_instructions_pass() {
        check(&function(&[0x45])).expect("i32.eqz is MVP");
    }

    #[test]
    fn sign_extension_is_refused() {
        let error = check(&function(&[0xc0])).expect_err("i32.extend8_s is not MVP");
        assert!(format!("{error:#}").contains("not an MVP module"), "{error:#}");
    }

    /// A memory, a stack pointer that starts at 64, and one byte of data at an address (LEB128).
    fn data_at(address: &[u8]) -> Vec<u8> {
        let stack_pointer = [6, 7, 1, 0x7f, 1, 0x41, 0xc0, 0, 0x0b];
        let mut data = vec![11, address.len() as u8 + 6, 1, 0, 0x41];
        data.extend_from_slice(address);
        data.extend_from_slice(&[0x0b, 1, 0xff]);
        module(&[&[5, 3, 1, 0, 1], &stack_pointer, &data])
    }

    #[test]
    fn the_stack_lies_below_the_data() {
        check(&data_at(&[0xc0, 0])).expect("data at 64 is out of its way");
        let error = check(&data_at(&[63])).expect_err("the stack grows into it");
        assert!(format!("{error:#}").contains("data at 63"), "{error:#}");
    }

    #[test]
    fn the_package_gives_one_function() {
        check(&imports("env", "grown")).expect("it is there");
        for (module, name) in [("env", "now"), ("wasi", "grown")] {
            let error = check(&imports(module, name)).expect_err("nothing provides it");
            assert!(format!("{error:#}").contains(name), "{error:#}");
        }
    }
}
