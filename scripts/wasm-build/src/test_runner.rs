//! `wasm-bindgen-test-runner`, which cargo starts for a test binary compiled to wasm. Built from
//! the library behind the published command, so that its version is pinned by this lock file.

fn main() -> anyhow::Result<()> {
    wasm_bindgen_cli::wasm_bindgen_test_runner::run_cli_with_args(std::env::args_os())
}
