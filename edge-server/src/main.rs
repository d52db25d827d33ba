//! The commands: `serve` and `token`.

use omega_edge::config::{Cli, Command};
use omega_edge::error::StartError;
use std::process::ExitCode;
use tracing::level_filters::LevelFilter;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("omega-edge: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn run() -> Result<(), StartError> {
    let cli = match Cli::read(std::env::args_os())? {
        Ok(cli) => cli,
        Err(help) => {
            print!("{help}");
            return Ok(());
        }
    };
    match cli.command {
        Command::Serve(args) => {
            log_to_stderr()?;
            let runtime = tokio::runtime::Runtime::new();
            let runtime = runtime.map_err(|error| StartError::System(error.to_string()))?;
            let served = runtime.block_on(omega_edge::serve(&args));
            // A thread that waits for a disk must not hold the process.
            runtime.shutdown_background();
            served
        }
        Command::Token(args) => {
            println!("{}", omega_edge::token(&args)?);
            Ok(())
        }
    }
}

fn log_to_stderr() -> Result<(), StartError> {
    let level = match std::env::var("SYNC_LOG") {
        Ok(text) => text.parse::<LevelFilter>().map_err(|_| {
            let words = "off, error, warn, info, debug or trace";
            StartError::Usage(format!("SYNC_LOG must be {words}, not '{text}'"))
        })?,
        Err(_) => LevelFilter::INFO,
    };
    tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).init();
    Ok(())
}
