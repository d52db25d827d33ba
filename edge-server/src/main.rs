//! The commands: `serve`, `token`, `train`, and those that look after a database.

use omega_edge::config::{Cli, Command};
use omega_edge::error::StartError;
use omega_edge::log::Log;
use omega_edge::upkeep;
use std::io::stdout;
use std::process::ExitCode;

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
    let cli = match Cli::read_with(std::env::args_os(), &|name| std::env::var(name).ok())? {
        Ok(cli) => cli,
        Err(help) => {
            print!("{help}");
            return Ok(());
        }
    };
    match cli.command {
        Command::Serve(args) => {
            let system = |error: std::io::Error| StartError::System(error.to_string());
            let log = Log::to(std::io::stderr()).map_err(system)?;
            let lines = tracing_subscriber::fmt().with_max_level(args.log);
            lines.with_writer(log.clone()).init();
            let runtime = tokio::runtime::Runtime::new().map_err(system)?;
            let served = runtime.block_on(omega_edge::serve(&args));
            log.flush();
            // A thread that waits for a disk must not hold the process.
            runtime.shutdown_background();
            served
        }
        Command::Token(args) => {
            println!("{}", omega_edge::token(&args)?);
            Ok(())
        }
        Command::Backup(args) => upkeep::backup(&args, &mut stdout()),
        Command::Restore(args) => upkeep::restore(&args, &mut stdout()),
        Command::Check(args) => upkeep::check(&args, &mut stdout()),
        Command::Export(args) => upkeep::export(&args, &mut stdout()),
        Command::Erase(args) => upkeep::erase(&args, &mut stdout()),
        Command::Train(args) => {
            println!("{}", omega_edge::train::command::run(&args)?);
            Ok(())
        }
    }
}
