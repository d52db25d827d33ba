//! Settings, each with its unit and default, checked before anything starts: from flags, the environment
//! or a file (`sources`).

pub mod access;
pub mod aggregate;
pub mod delta_sync;
pub mod quota;
pub mod reference;
pub mod sources;

use self::access::AccessArgs;
use self::aggregate::{AggregateArgs, region};
use self::delta_sync::DeltaSyncArgs;
use self::quota::QuotaArgs;
use self::sources::Variable;
use crate::aggregate::region::Region;
use crate::auth::{AUDIENCE, ISSUER, SCOPE, SCOPES};
use crate::error::ProcessError;
use crate::limits::{
    ADDRESS_CONNECTIONS_MAX, ADDRESS_RATE, DEVICE_RATE, DRAIN_MAX, HOUSEHOLD_RATE, Limits,
};
use crate::quota::Rate;
use crate::train::command::TrainArgs;
use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use omega_sync_core::id::{DeviceId, HouseholdId};
use std::ffi::OsString;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;
use tracing::level_filters::LevelFilter;

/// Host to listen on without `--listen` and `SYNC_HOST`.
pub const HOST: &str = "127.0.0.1";
/// Port to listen on without `--listen` and `SYNC_PORT`.
pub const PORT: u16 = 8083;
/// Longest life of a token from the `token` command.
pub const TOKEN_LIFE_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Highest rate that can be set: what one core can answer.
pub const RATE_MAX: u32 = 100_000;
/// Requests at once for each that is allowed in a second.
const BURST: u32 = 5;

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "omega-edge", version, about = "The edge server of Omega Sync")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server
    Serve(Box<ServeArgs>),
    /// Print a token for a device
    Token(TokenArgs),
    /// Make the tables of the pattern codec from a catalogue
    Train(TrainArgs),
    /// Write a copy of the database to a new file, while the server runs
    Backup(BackupArgs),
    /// Put a backup in the place of the database; the server must be stopped
    Restore(RestoreArgs),
    /// Look a database or a backup over, and say what is wrong with it
    Check(CheckArgs),
    /// Print everything that is held of a household, as JSON
    Export(HouseholdArgs),
    /// Erase everything that is held of a household; the server must be stopped
    Erase(HouseholdArgs),
}

/// Flags of `backup`.
#[derive(Debug, Clone, Args)]
pub struct BackupArgs {
    /// Folder of the database
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// File to write, which must not be there yet
    #[arg(value_name = "OUT")]
    pub out: PathBuf,
}

/// Flags of `restore`.
#[derive(Debug, Clone, Args)]
pub struct RestoreArgs {
    /// Folder of the database
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// The backup
    #[arg(value_name = "BACKUP")]
    pub backup: PathBuf,
    /// There may be a database already: it is kept beside the restored one
    #[arg(long)]
    pub replace: bool,
    /// The same, and it need not be readable: then what was erased since the backup comes back, and so
    /// does who opted out
    #[arg(long)]
    pub replace_unreadable: bool,
}

/// Flags of `check`.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub struct CheckArgs {
    /// Folder of the database
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// A backup, to check in place of a folder's database
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// Flags of `export` and `erase`.
#[derive(Debug, Clone, Args)]
pub struct HouseholdArgs {
    /// Folder of the database
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Which household
    #[arg(long, value_name = "ID", value_parser = household)]
    pub household: HouseholdId,
}

/// The claims that `serve` and `token` must agree on.
#[derive(Debug, Clone, Args)]
pub struct ClaimArgs {
    /// Issuer (`iss`) of tokens
    #[arg(long, value_name = "NAME", default_value = ISSUER)]
    pub jwt_issuer: String,
    /// Audience (`aud`) of tokens
    #[arg(long, value_name = "NAME", default_value = AUDIENCE)]
    pub jwt_audience: String,
}

/// Flags of `serve`.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// File with settings, TOML
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address to listen on, HOST:PORT, in place of host and port
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// Host to listen on
    #[arg(long, value_name = "HOST", default_value = HOST)]
    pub host: String,
    /// Port to listen on
    #[arg(long, value_name = "PORT", default_value_t = PORT)]
    pub port: u16,
    /// Folder of the database, created if it is missing
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// File with the secret that signs tokens: at least 32 random bytes; needed without --jwks
    #[arg(long, value_name = "FILE", required_unless_present = "jwks")]
    pub jwt_secret_file: Option<PathBuf>,
    /// The claims.
    #[command(flatten)]
    pub claims: ClaimArgs,
    /// Others who issue tokens, and TLS.
    #[command(flatten)]
    pub access: AccessArgs,
    /// Hand out tokens at /dev/token, and create a missing secret; on a loopback address only
    #[arg(long)]
    pub dev: bool,
    /// Requests and JSON messages a second that one device may send, 0 for any number; five times as
    /// many at once
    #[arg(long, value_name = "N", default_value_t = DEVICE_RATE.per_second, value_parser = rate)]
    pub device_rate: u32,
    /// The same for all devices of a household together
    #[arg(long, value_name = "N", default_value_t = HOUSEHOLD_RATE.per_second, value_parser = rate)]
    pub household_rate: u32,
    /// Requests a second without a good token from one address, 0 for any number; five times as many
    /// at once
    #[arg(long, value_name = "N", default_value_t = ADDRESS_RATE.per_second, value_parser = rate)]
    pub address_rate: u32,
    /// Connections at a time from one address, 0 for any number; proxies and this machine have no limit
    #[arg(long, value_name = "N", default_value_t = ADDRESS_CONNECTIONS_MAX)]
    pub address_connections: usize,
    /// After SIGTERM: how long it goes on, saying that it is not ready, before it stops; such as 10s
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = drain)]
    pub drain: Duration,
    /// What they may send, open and keep.
    #[command(flatten)]
    pub quota: QuotaArgs,
    /// What the log has: off, error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = level)]
    pub log: LevelFilter,
    /// Collector of OpenTelemetry that gets spans by OTLP (protobuf over HTTP, `/v1/traces` is added), such
    /// as `http://127.0.0.1:4318`
    #[arg(long, value_name = "URL")]
    pub otel_exporter_otlp_endpoint: Option<String>,
    /// How devices catch up.
    #[command(flatten)]
    pub delta_sync: DeltaSyncArgs,
    /// What may be told of all households together.
    #[command(flatten)]
    pub aggregate: AggregateArgs,
    /// Also serve the files of this folder
    #[arg(long = "static", value_name = "DIR")]
    pub static_folder: Option<PathBuf>,
}

/// Flags of `token`.
#[derive(Debug, Clone, Args)]
pub struct TokenArgs {
    /// Household the token is for (`sub`)
    #[arg(long, value_name = "ID", value_parser = household)]
    pub household: HouseholdId,
    /// Device the token is for (`did`)
    #[arg(long, value_name = "ID", value_parser = device)]
    pub device: DeviceId,
    /// What it allows: words of "read write control admin"
    #[arg(long, value_name = "WORDS", default_value = SCOPE, value_parser = scope)]
    pub scope: String,
    /// Where the household is: a country (ISO 3166-1 alpha-2) or a part of one; without it the server's
    /// --region counts
    #[arg(long, value_name = "CODE", value_parser = region)]
    pub region: Option<Region>,
    /// How long it lives, such as 90s, 15m, 1h or 30d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = life)]
    pub expires_in: Duration,
    /// File with settings, TOML
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// File with the secret that signs tokens: at least 32 random bytes
    #[arg(long, value_name = "FILE")]
    pub jwt_secret_file: PathBuf,
    /// The claims.
    #[command(flatten)]
    pub claims: ClaimArgs,
}

fn household(text: &str) -> Result<HouseholdId, String> {
    HouseholdId::new(text).map_err(|error| error.to_string())
}

fn device(text: &str) -> Result<DeviceId, String> {
    DeviceId::new(text).map_err(|error| error.to_string())
}

fn scope(text: &str) -> Result<String, String> {
    let known: Vec<&str> = SCOPES.split(' ').collect();
    let mut words = text.split(' ').filter(|word| !word.is_empty()).peekable();
    if words.peek().is_none() || words.any(|word| !known.contains(&word)) {
        return Err(format!("use one or more of the words \"{SCOPES}\""));
    }
    Ok(text.into())
}

fn rate(text: &str) -> Result<u32, String> {
    let rate = text.parse().ok().filter(|rate| *rate <= RATE_MAX);
    rate.ok_or_else(|| format!("use a number from 0 to {RATE_MAX}"))
}

fn drain(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).ok().filter(|time| *time <= DRAIN_MAX);
    time.ok_or_else(|| "use a time from 0s to 10m".into())
}

fn level(text: &str) -> Result<LevelFilter, String> {
    text.parse().map_err(|_| "use off, error, warn, info, debug or trace".into())
}

fn life(text: &str) -> Result<Duration, String> {
    let life = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write a time such as 90s, 15m, 1h or 30d"))?;
    if life < Duration::from_secs(1) || life > TOKEN_LIFE_MAX {
        return Err("use a time from 1s to 366d".into());
    }
    Ok(life)
}

impl Cli {
    /// Reads the command line alone.
    ///
    /// # Errors
    /// As [`Cli::read_with`].
    pub fn read<I>(arguments: I) -> Result<Result<Self, String>, ProcessError>
    where
        I: IntoIterator,
        I::Item: Into<OsString>,
    {
        Self::read_with(arguments, &|_| None)
    }

    /// Reads the command line, and what it leaves out from the environment and from the file that one
    /// of them names. Help and version come back as the text to print.
    ///
    /// # Errors
    /// In one line what is wrong, where, and what to do.
    pub fn read_with<I>(
        arguments: I,
        variable: Variable,
    ) -> Result<Result<Self, String>, ProcessError>
    where
        I: IntoIterator,
        I::Item: Into<OsString>,
    {
        let given = arguments.into_iter().map(Into::into).collect();
        let (arguments, origins) = sources::complete(given, variable)?;
        match Self::try_parse_from(arguments) {
            Ok(cli) => Ok(Ok(cli)),
            Err(error) => match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                    Ok(Err(error.render().to_string()))
                }
                ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                    let usage =
                        "a command is missing, such as serve or token (see omega-edge --help)";
                    Err(ProcessError::Usage(usage.into()))
                }
                _ => {
                    let line = one_line(&error.render().to_string());
                    let from = origins.iter().find(|(flag, _)| line.contains(&format!("{flag} ")));
                    let from = from.map(|(_, origin)| format!("{origin}: ")).unwrap_or_default();
                    Err(ProcessError::Usage(format!("{from}{line}")))
                }
            },
        }
    }
}

/// Clap's message without its usage text, in one line.
fn one_line(message: &str) -> String {
    let message = message.strip_prefix("error: ").unwrap_or(message);
    let words = message.split("\n\nUsage:").next().unwrap_or(message);
    let words = words.split("\n\nFor more information").next().unwrap_or(words);
    let line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{line} (see omega-edge --help)")
}

impl ServeArgs {
    /// The bounds that flags can change.
    pub fn limits(&self) -> Limits {
        let rate = |per_second| Rate { per_second, burst: per_second * BURST };
        let (device, household) = (rate(self.device_rate), rate(self.household_rate));
        let rates = Limits {
            address_rate: rate(self.address_rate),
            address_connections_max: self.address_connections,
            device_rate: device,
            household_rate: household,
            ..Limits::default()
        };
        self.quota.put_into(rates)
    }

    /// Where spans go. An empty address is none, as OpenTelemetry has it.
    pub fn collector(&self) -> Option<&str> {
        self.otel_exporter_otlp_endpoint.as_deref().filter(|address| !address.is_empty())
    }

    /// The address to listen on.
    ///
    /// # Errors
    /// It is none, or not one for development.
    pub fn address(&self) -> Result<SocketAddr, ProcessError> {
        let (text, from) = match &self.listen {
            Some(text) => (text.clone(), "--listen"),
            None => {
                let Self { host, port, .. } = self;
                let bare_ipv6 = host.contains(':') && !host.starts_with('[');
                let host = if bare_ipv6 { format!("[{host}]") } else { host.clone() };
                (format!("{host}:{port}"), "--host")
            }
        };
        let mut found = text.to_socket_addrs().ok().into_iter().flatten();
        let address = found.next().ok_or_else(|| {
            let usage = format!("'{text}' ({from}) is no address: use one such as {HOST}:{PORT}");
            ProcessError::Usage(usage)
        })?;
        if self.dev && !address.ip().to_canonical().is_loopback() {
            let usage = format!(
                "--dev hands out tokens, so it needs a loopback address such as {HOST}:{PORT}, \
                 not {address}: leave out --dev, or listen there"
            );
            return Err(ProcessError::Usage(usage));
        }
        Ok(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVE: [&str; 6] = ["omega-edge", "serve", "--data", "d", "--jwt-secret-file", "s"];

    fn usage(arguments: &[&str]) -> String {
        let error = Cli::read(arguments).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let line = error.to_string();
        assert!(!line.contains('\n'), "{line}");
        line
    }

    fn serve(more: &[&str]) -> ServeArgs {
        let arguments: Vec<&str> = SERVE.iter().chain(more).copied().collect();
        match Cli::read(&arguments).unwrap().unwrap().command {
            Command::Serve(args) => *args,
            other => panic!("{other:?}"),
        }
    }

    fn token(more: &[&str]) -> Vec<&'static str> {
        let start = ["omega-edge", "token", "--household", "h", "--device", "d"];
        let more = more.iter().map(|word| &*word.to_string().leak());
        start.into_iter().chain(["--jwt-secret-file", "s"]).chain(more).collect()
    }

    #[test]
    fn the_address_is_one_flag_or_two() {
        assert_eq!(serve(&[]).address().unwrap().to_string(), "127.0.0.1:8083");
        let parts = serve(&["--host", "::1", "--port", "9000"]);
        assert_eq!(parts.address().unwrap().to_string(), "[::1]:9000");
        let whole = serve(&["--listen", "127.0.0.1:1"]);
        assert_eq!(whole.address().unwrap().to_string(), "127.0.0.1:1");
        let error = serve(&["--listen", "8083"]).address().unwrap_err().to_string();
        assert!(error.contains("use one such as 127.0.0.1:8083"), "{error}");
    }

    #[test]
    fn development_needs_loopback() {
        let error = serve(&["--dev", "--listen", "0.0.0.0:1"]).address().unwrap_err();
        assert!(error.to_string().contains("needs a loopback address"), "{error}");
        assert!(serve(&["--dev", "--listen", "[::1]:1"]).address().is_ok());
        assert!(serve(&["--listen", "0.0.0.0:1"]).address().is_ok());
    }

    #[test]
    fn bad_flags_are_one_line() {
        let missing = usage(&["omega-edge", "serve"]);
        assert!(missing.contains("--data <DIR>") && missing.contains("--jwt-secret-file"));
        assert!(usage(&["omega-edge"]).contains("serve or token"));
        assert!(usage(&["omega-edge", "sreve"]).contains("sreve"));
        let no_time = usage(&token(&["--expires-in", "soon"]));
        assert!(no_time.contains("15m"), "{no_time}");
        assert!(usage(&token(&["--expires-in", "0s"])).contains("from 1s to 366d"));
        assert!(usage(&token(&["--expires-in", "367d"])).contains("from 1s to 366d"));
        assert!(usage(&token(&["--scope", "owner"])).contains(SCOPES));
        assert!(usage(&token(&["--scope", ""])).contains("scope"));
        let rate: Vec<&str> = SERVE.iter().chain(&["--device-rate", "100001"]).copied().collect();
        assert!(usage(&rate).contains("from 0 to 100000"));
        let long = "x".repeat(65);
        let id = usage(&["omega-edge", "token", "--household", &long]);
        assert!(id.contains("1 to 64 bytes"), "{id}");
    }

    #[test]
    fn rates_follow_their_flags() {
        let limits = serve(&[]).limits();
        assert_eq!((limits.device_rate, limits.household_rate), (DEVICE_RATE, HOUSEHOLD_RATE));
        let limits = serve(&["--device-rate", "0", "--household-rate", "100000"]).limits();
        assert_eq!(limits.device_rate.per_second, 0);
        assert_eq!(limits.household_rate, Rate { per_second: 100_000, burst: 500_000 });
    }

    #[test]
    fn a_token_has_defaults() {
        match Cli::read(token(&[])).unwrap().unwrap().command {
            Command::Token(args) => {
                assert_eq!((&*args.scope, args.region), (SCOPE, None));
                assert_eq!(args.expires_in, Duration::from_secs(3600));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_token_says_where_its_household_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, [7; 32]).unwrap();
        // The server's own region is none of a token's.
        let set = |name: &str| (name == "SYNC_REGION").then(|| "FR".to_owned());
        for (more, said) in [(&["--region", "de-by"][..], Some("DE-BY")), (&[], None)] {
            let args = match Cli::read_with(token(more), &set).unwrap().unwrap().command {
                Command::Token(args) => TokenArgs { jwt_secret_file: file.clone(), ..args },
                other => panic!("{other:?}"),
            };
            let token = crate::token(&args).unwrap();
            let secret = crate::auth::Secret::read(&file).unwrap();
            let principal = crate::auth::Authority::new(&secret, ISSUER, AUDIENCE).verify(&token);
            let region = principal.unwrap().region;
            assert_eq!(region.as_ref().map(Region::as_str), said);
        }
        assert!(usage(&token(&["--region", "Germany"])).contains("ISO 3166-1"));
    }

    #[test]
    fn help_is_text_to_print() {
        let help = Cli::read(["omega-edge", "serve", "--help"]).unwrap().unwrap_err();
        assert!(help.contains("--static <DIR>"), "{help}");
    }
}
