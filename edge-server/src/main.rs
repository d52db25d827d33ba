//! The commands: `serve`, `token`, `train`, and those that look after a database.

use omega_edge::config::{Cli, Command, ServeArgs};
use omega_edge::error::ProcessError;
use omega_edge::log::Log;
use omega_edge::upkeep;
use std::io::stdout;
use std::process::ExitCode;
use tokio::runtime::Runtime;
#[cfg(feature = "otel")]
use {
    omega_edge::otel::Exporter, tracing_subscriber::Layer,
    tracing_subscriber::layer::SubscriberExt, tracing_subscriber::util::SubscriberInitExt,
};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("omega-edge: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn run() -> Result<(), ProcessError> {
    let cli = match Cli::read_with(std::env::args_os(), &|name| std::env::var(name).ok())? {
        Ok(cli) => cli,
        Err(help) => {
            print!("{help}");
            return Ok(());
        }
    };
    match cli.command {
        Command::Serve(args) => serve(&args),
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

fn serve(args: &ServeArgs) -> Result<(), ProcessError> {
    let system = |error: std::io::Error| ProcessError::System(error.to_string());
    let log = Log::to(std::io::stderr()).map_err(system)?;
    let runtime = Runtime::new().map_err(system)?;
    let spans = watch(args, &log, &runtime)?;
    let served = runtime.block_on(omega_edge::serve(args));
    spans.inspect(Exporter::flush);
    log.flush();
    // A thread that waits for a disk must not hold the process.
    runtime.shutdown_background();
    served
}

/// Sends what is traced where it goes: lines to the log, and spans to a collector, if there is one.
#[cfg(feature = "otel")]
fn watch(args: &ServeArgs, log: &Log, runtime: &Runtime) -> Result<Option<Exporter>, ProcessError> {
    let lines = tracing_subscriber::fmt::layer().with_writer(log.clone()).with_filter(args.log);
    let start = |endpoint| Exporter::start(endpoint, runtime.handle());
    let spans = args.collector().map(start).transpose()?;
    let layer = spans.as_ref().map(Exporter::layer);
    tracing_subscriber::registry().with(lines).with(layer).init();
    Ok(spans)
}

/// Sends what is traced to the log.
#[cfg(not(feature = "otel"))]
fn watch(args: &ServeArgs, log: &Log, _: &Runtime) -> Result<Option<Exporter>, ProcessError> {
    if args.collector().is_some() {
        return Err(ProcessError::without_otel());
    }
    let lines = tracing_subscriber::fmt().with_max_level(args.log);
    lines.with_writer(log.clone()).init();
    Ok(None)
}

/// This build has none.
#[cfg(not(feature = "otel"))]
enum Exporter {}

#[cfg(not(feature = "otel"))]
impl Exporter {
    fn flush(&self) {
        match *self {}
    }
}
