//! Makes the compiled core loadable on the oldest TV engine that has WebAssembly.
//!
//! `wasm-build bind IN DIR` writes the JavaScript glue, its TypeScript types and the module that
//! belongs to them into DIR. `wasm-build check FILE` refuses a module with an instruction beyond
//! the first WebAssembly release (MVP), or with an import that its glue does not provide.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use wasm_bindgen_cli_support::Bindgen;
use wasmparser::{Parser, Payload, Validator, WasmFeatures};

const USAGE: &str = "usage: wasm-build bind IN.wasm DIR | wasm-build check FILE.wasm";

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

/// The glue takes the module's bytes or URL from its caller: `import.meta`, by which it would find
/// the module on its own, is a syntax error in a classic script.
fn bind(input: &Path, folder: &Path) -> Result<()> {
    Bindgen::new()
        .input_path(input)
        .web(true)?
        .omit_default_module_path(true)
        .typescript(true)
        .remove_name_section(true)
        .remove_producers_section(true)
        .generate(folder)
        .with_context(|| format!("no glue for {}", input.display()))
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
    for payload in Parser::new(0).parse_all(bytes) {
        if let Payload::ImportSection(imports) = payload? {
            for import in imports.into_imports() {
                let import = import?;
                if import.module != glue {
                    bail!("imports `{}` from `{}`, only {glue} exists", import.name, import.module);
                }
            }
        }
    }
    Ok(())
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
    fn mvp_instructions_pass() {
        check(&function(&[0x45]), "./glue.js").expect("i32.eqz is MVP");
    }

    #[test]
    fn sign_extension_is_refused() {
        let error = check(&function(&[0xc0]), "./glue.js").expect_err("i32.extend8_s is not MVP");
        assert!(format!("{error:#}").contains("not an MVP module"), "{error:#}");
    }

    #[test]
    fn imports_come_from_the_glue_alone() {
        check(&imports_from("./glue.js"), "./glue.js").expect("the glue is there");
        let error = check(&imports_from("env"), "./glue.js").expect_err("nothing provides env");
        assert!(format!("{error:#}").contains("`env`"), "{error:#}");
    }
}
