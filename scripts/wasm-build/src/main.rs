//! Makes the compiled core loadable on the oldest TV engine that has WebAssembly.
//!
//! `wasm-build bind IN DIR` writes the JavaScript glue, its TypeScript types and the module that
//! belongs to them into DIR; with `--small` a small glue, for modules whose functions take
//! numbers, texts and arrays and give back numbers. `wasm-build check FILE` refuses a module with an instruction beyond
//! the first WebAssembly release (MVP), with an import that its glue does not provide, or with a stack
//! that could grow into other memory.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use wasm_bindgen_cli_support::Bindgen;
use wasmparser::{ConstExpr, DataKind, Operator, Parser, Payload, Validator, WasmFeatures};

const USAGE: &str = "usage: wasm-build bind [--small] IN.wasm DIR | wasm-build check FILE.wasm";

/// The types of the functions that the glue's caller hands the module's exports to, and itself.
const HAND_OVER: &str = "
/**
 * Hands over the exports of the compiled module, before anything else is called.
 */
export function __wbg_set_wasm(exports: WebAssembly.Exports): void;
/**
 * Calls `listener` each time when memory has grown: views of it are stale from then on.
 */
export function __wbg_on_memory_grown(listener: () => void): void;
";

const SMALL_GLUE: &str = include_str!("glue.js");
/// What generated glue has that the small one does in its own way.
const SMALL_GLUE_DOES: [&str; 7] = [
    "decodeText",
    "getFloat32ArrayMemory0",
    "getStringFromWasm0",
    "getUint8ArrayMemory0",
    "passArray8ToWasm0",
    "passArrayF32ToWasm0",
    "passStringToWasm0",
];

/// A view of memory that the glue keeps, as it declares it.
const KEPT_VIEW: &str = "Memory0 = null;";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["bind", input, folder] => bind(Path::new(input), Path::new(folder), growth),
        ["bind", "--small", input, folder] => bind(Path::new(input), Path::new(folder), small_glue),
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
fn bind(input: &Path, folder: &Path, finish: impl Fn(&str) -> Result<String>) -> Result<()> {
    Bindgen::new()
        .input_path(input)
        .bundler(true)?
        .typescript(true)
        .remove_name_section(true)
        .remove_producers_section(true)
        .generate(folder)
        .with_context(|| format!("no glue for {}", input.display()))?;
    declare_glue(input, folder, finish)
}

/// What a bundler would load first imports the module as if it were a script: it goes. The types move
/// to the glue itself, with the function that hands over the exports.
fn declare_glue(
    input: &Path,
    folder: &Path,
    finish: impl Fn(&str) -> Result<String>,
) -> Result<()> {
    let stem = input.file_stem().context("the input has no file name")?.to_string_lossy();
    let file = |name: &str| folder.join(format!("{stem}{name}"));
    std::fs::remove_file(file(".js"))?;
    let types = std::fs::read_to_string(file(".d.ts"))?;
    std::fs::remove_file(file(".d.ts"))?;
    std::fs::write(file("_bg.d.ts"), without_disposal(&types) + HAND_OVER)?;
    let code = std::fs::read_to_string(file("_bg.js"))?;
    std::fs::write(file("_bg.js"), finish(&code)?)?;
    Ok(())
}

/// What the module calls when its memory has grown (`wasm/src/allocator.rs`): the glue forgets its views.
fn growth(code: &str) -> Result<String> {
    let views: Vec<&str> = code
        .lines()
        .filter_map(|line| line.strip_prefix("let ")?.strip_suffix(KEPT_VIEW))
        .collect();
    if views.is_empty() {
        bail!("the glue keeps no view of memory: how does it notice that it has grown?");
    }
    let forget: String = views.iter().map(|view| format!("    {view}{KEPT_VIEW}\n")).collect();
    Ok(format!(
        "{code}
let memoryGrown = () => {{}};
export function __wbg_on_memory_grown(listener) {{
    memoryGrown = listener;
}}
export function memory_grew() {{
{forget}    memoryGrown();
}}
"
    ))
}

/// Writes `glue.js` for the classes of the generated glue; refuses what that one can't do.
fn small_glue(code: &str) -> Result<String> {
    let mut glue = String::from(SMALL_GLUE);
    for line in code.lines() {
        if let Some(class) = line.strip_prefix("export class ").and_then(|l| l.strip_suffix(" {")) {
            let owner = class.to_lowercase();
            glue += &format!("export const {class} = classOf(\"{owner}\");\n");
        } else if let Some(import) = line.strip_prefix("export function __wbg_") {
            let name = import.split('(').next().unwrap_or_default();
            match name {
                "set_wasm" => {}
                _ if name.starts_with("__wbindgen_throw_") => {
                    glue += &format!("export {{ refuse as __wbg_{name} }};\n");
                }
                _ => bail!("the small glue has no import `{name}`"),
            }
        } else if let Some(function) = line.strip_prefix("function ") {
            let name = function.split('(').next().unwrap_or_default();
            if !SMALL_GLUE_DOES.contains(&name) {
                bail!("the small glue can't do what `{name}` is for: let the function take less");
            }
        }
    }
    Ok(glue)
}

/// Without the one line that a program with types of 2022 or before can't read.
fn without_disposal(types: &str) -> String {
    types.split_inclusive('\n').filter(|line| !line.contains("[Symbol.dispose]")).collect()
}

fn check_file(file: &Path) -> Result<()> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let glue = file
        .file_stem()
        .map(|stem| format!("./{}.js", stem.to_string_lossy()))
        .with_context(|| format!("{} has no file name", file.display()))?;
    check(&bytes, &glue).with_context(|| file.display().to_string())
}

/// `glue` is the only module that the wasm file may import from.
fn check(bytes: &[u8], glue: &str) -> Result<()> {
    Validator::new_with_features(WasmFeatures::MVP)
        .validate_all(bytes)
        .context("not an MVP module, so it will not load on Chromium 63")?;
    let mut stack_top = None;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let (module, name) = import.map(|import| (import.module, import.name))?;
                    if module != glue {
                        bail!("imports `{name}` from `{module}`, only {glue} exists");
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

    fn imports_from(module_name: &str) -> Vec<u8> {
        let mut import = vec![1, module_name.len() as u8];
        import.extend_from_slice(module_name.as_bytes());
        import.extend_from_slice(&[1, b'f', 0, 0]);
        let mut section = vec![2, import.len() as u8];
        section.extend_from_slice(&import);
        module(&[&[1, 4, 1, 0x60, 0, 0], &section])
    }

    #[test]
    fn the_glue_forgets_every_view() {
        let code = "let cachedAMemory0 = null;\nlet other = null;\nlet cachedBMemory0 = null;\n";
        let told = growth(code).expect("it keeps two");
        assert!(told.starts_with(code), "{told}");
        assert!(
            told.contains("    cachedAMemory0 = null;\n    cachedBMemory0 = null;\n"),
            "{told}"
        );
        growth("let wasm;\n").expect_err("it keeps none");
    }

    #[test]
    fn the_small_glue_knows_its_classes_and_its_limits() {
        let code = "export class Replica {\nexport function __wbg___wbindgen_throw_1a(a, b) {\n\
                    export function __wbg_set_wasm(val) {\nfunction passStringToWasm0(arg) {\n";
        let glue = small_glue(code).expect("nothing else");
        assert!(glue.contains("export const Replica = classOf(\"replica\");"), "{glue}");
        assert!(glue.contains("export { refuse as __wbg___wbindgen_throw_1a };"), "{glue}");
        small_glue("function takeObject(idx) {\n").expect_err("objects");
        small_glue("export function __wbg_now_1a() {\n").expect_err("an import");
    }

    #[test]
    fn types_need_no_disposal() {
        let types = "class A {\n  free(): void;\n  [Symbol.dispose](): void;\n}\n";
        assert_eq!(without_disposal(types), "class A {\n  free(): void;\n}\n");
    }

    #[test]
    fn mvp_instructions_pass() {
        check(&function(&[0x45]), "./glue.js").expect("i32.eqz is MVP");
    }

    #[test]
    fn sign_extension_is_refused() {
        let error = check(&function(&[0xc0]), "./glue.js").expect_err("i32.extend8_s is not MVP");
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
        check(&data_at(&[0xc0, 0]), "./glue.js").expect("data at 64 is out of its way");
        let error = check(&data_at(&[63]), "./glue.js").expect_err("the stack grows into it");
        assert!(format!("{error:#}").contains("data at 63"), "{error:#}");
    }

    #[test]
    fn imports_come_from_the_glue_alone() {
        check(&imports_from("./glue.js"), "./glue.js").expect("the glue is there");
        let error = check(&imports_from("env"), "./glue.js").expect_err("nothing provides env");
        assert!(format!("{error:#}").contains("`env`"), "{error:#}");
    }
}
