//! The commands: `serve`, `token`, `train`, and those that look after a database.

use omega_edge::config::{Cli, Command};
use omega_edge::error::StartError;
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
            tracing_subscriber::fmt().with_max_level(args.log).with_writer(std::io::stderr).init();
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
