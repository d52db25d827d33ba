//! Where settings come from: flags, else the environment, else the file of `--config`, else defaults.
//!
//! A setting that the command line leaves out is taken from the next source that has it and put
//! there, so that clap checks it like every other; what is wrong then says where it came from.

use super::Cli;
use crate::error::ProcessError;
use clap::{Arg, ArgAction, Command, CommandFactory};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use toml::{Table, Value};

/// A variable's value, if it is set.
pub type Variable<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Of `serve`: the address as a whole, and its parts. A source that has one of them says all.
const ADDRESS: [&str; 3] = ["listen", "host", "port"];
/// The file that the others may come from.
const FILE: &str = "config";
/// What names begin with that are those of environment variables as they are.
const PLAIN: [&str; 2] = ["delta-sync", "otel"];

/// The variable of the environment that stands for a flag.
pub fn variable_of(flag: &str) -> String {
    let name = flag.replace('-', "_").to_uppercase();
    if PLAIN.iter().any(|plain| flag.starts_with(plain)) { name } else { format!("SYNC_{name}") }
}

/// The flags of a command that can be set elsewhere: all but what is meant for one run only.
pub fn settings(command: &Command) -> impl Iterator<Item = &Arg> {
    let once = [
        "help",
        "version",
        "household",
        "device",
        "scope",
        "expires-in",
        "replace",
        "replace-unreadable",
        "file",
    ];
    // Of one token, and not the server's own.
    let own = (command.get_name() == "token").then_some("region");
    command.get_arguments().filter(move |arg| {
        arg.get_long().is_some_and(|name| !once.contains(&name) && own != Some(name))
    })
}

/// The command line with what other sources say; and which words came from where.
pub(super) fn complete(
    given: Vec<OsString>,
    variable: Variable,
) -> Result<(Vec<OsString>, BTreeMap<String, String>), ProcessError> {
    let cli = Cli::command();
    let known = given.get(1).and_then(|name| cli.find_subcommand(name));
    let Some(command) = known else { return Ok((given, BTreeMap::new())) };
    let mut line = Line::of(given);
    if line.wants_help() {
        return Ok((line.words, line.origins));
    }
    line.add(command, &|name| Ok(variable(&variable_of(name))), &|name| variable_of(name))?;
    if let Some(path) = line.value(FILE) {
        let file = read(Path::new(&path), &cli)?;
        let origin = |name: &str| format!("{name} in {path}");
        line.add(command, &|name| file.get(name).map(text).transpose(), &origin)?;
    }
    Ok((line.words, line.origins))
}

/// A command line that grows.
struct Line {
    words: Vec<OsString>,
    /// From where a flag came that was not there.
    origins: BTreeMap<String, String>,
}

impl Line {
    fn of(words: Vec<OsString>) -> Self {
        Self { words, origins: BTreeMap::new() }
    }

    fn wants_help(&self) -> bool {
        self.words.iter().any(|word| ["-h", "--help"].iter().any(|help| word == help))
    }

    fn has(&self, name: &str) -> bool {
        let (flag, with) = (format!("--{name}"), format!("--{name}="));
        self.words.iter().any(|word| *word == *flag || word.to_string_lossy().starts_with(&with))
    }

    fn value(&self, name: &str) -> Option<String> {
        let (flag, with) = (format!("--{name}"), format!("--{name}="));
        self.words.iter().enumerate().find_map(|(at, word)| {
            let word = word.to_string_lossy();
            match word.strip_prefix(&with) {
                Some(value) => Some(value.to_owned()),
                None if word == flag => Some(self.words.get(at + 1)?.to_string_lossy().into()),
                None => None,
            }
        })
    }

    /// Adds what a source says and no source before it.
    fn add(
        &mut self,
        command: &Command,
        source: &dyn Fn(&str) -> Result<Option<String>, String>,
        origin: &dyn Fn(&str) -> String,
    ) -> Result<(), ProcessError> {
        let has_address = ADDRESS.iter().any(|name| self.has(name));
        for setting in settings(command) {
            let Some(name) = setting.get_long() else { continue };
            // A check of a backup is none of the folder's database.
            let other = name == "data" && self.has("file");
            if self.has(name) || other || has_address && ADDRESS.contains(&name) {
                continue;
            }
            let usage = |reason| ProcessError::Usage(format!("{}: {reason}", origin(name)));
            let Some(value) = source(name).map_err(usage)? else { continue };
            match (setting.get_action(), value.as_str()) {
                (ArgAction::SetTrue, "true") => self.words.push(format!("--{name}").into()),
                (ArgAction::SetTrue, "false") => {}
                (ArgAction::SetTrue, _) => {
                    let usage = format!("{} must be true or false, not '{value}'", origin(name));
                    return Err(ProcessError::Usage(usage));
                }
                _ => self.words.push(format!("--{name}={value}").into()),
            }
            self.origins.insert(format!("--{name}"), origin(name));
        }
        Ok(())
    }
}

/// The settings in a file. Several commands may read one file, so it may have those of any.
fn read(path: &Path, cli: &Command) -> Result<Table, ProcessError> {
    let usage = |reason: String| ProcessError::Usage(format!("{}: {reason}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| usage(error.to_string()))?;
    let file: Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(0, |span| text[..span.start].lines().count().max(1));
        usage(format!("line {line}: {}", error.message().replace('\n', " ")))
    })?;
    let commands = cli.get_subcommands().flat_map(settings);
    let mut names: Vec<&str> = commands.filter_map(|setting| setting.get_long()).collect();
    names.retain(|name| *name != FILE);
    for key in file.keys() {
        if !names.contains(&key.as_str()) {
            let nearest = names.iter().min_by_key(|name| distance(name, key));
            let nearest = nearest.copied().unwrap_or_default();
            return Err(usage(format!("there is no setting '{key}'; did you mean '{nearest}'?")));
        }
    }
    Ok(file)
}

/// A value as a flag has it.
fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Boolean(switch) => Ok(switch.to_string()),
        other => {
            Err(format!("it must be a text, a number, true or false, not {}", other.type_str()))
        }
    }
}

/// How many letters must change to get from one word to the other (Levenshtein 1965).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (column, known) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *known);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, ServeArgs};

    struct Place {
        folder: tempfile::TempDir,
    }

    impl Place {
        fn new(file: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("omega.toml"), file).unwrap();
            Self { folder }
        }

        fn read(&self, flags: &[&str], set: &[(&str, &str)]) -> Result<ServeArgs, String> {
            let path = self.folder.path().join("omega.toml");
            let config = path.to_str().unwrap();
            let words = ["omega-edge", "serve", "--config", config];
            serve([&words, flags].concat(), set)
        }

        fn error(&self, set: &[(&str, &str)]) -> String {
            self.read(&[], set).unwrap_err()
        }
    }

    fn serve(words: Vec<&str>, set: &[(&str, &str)]) -> Result<ServeArgs, String> {
        let value = |name: &str| set.iter().find(|(known, _)| *known == name);
        let variable = |name: &str| value(name).map(|(_, text)| (*text).to_owned());
        match Cli::read_with(words, &variable).map_err(|error| error.to_string())?.unwrap().command
        {
            config::Command::Serve(args) => Ok(*args),
            other => panic!("{other:?}"),
        }
    }

    const WHOLE: &str = "data = 'from-file'\njwt-secret-file = 'secret'\ndevice-rate = 7\n";

    #[test]
    fn flags_come_before_the_environment_before_the_file_before_defaults() {
        let place = Place::new(WHOLE);
        let rate = |flags: &[&str], set: &[(&str, &str)]| {
            let args = place.read(flags, set).unwrap();
            (args.device_rate, args.household_rate)
        };
        let default = crate::limits::HOUSEHOLD_RATE.per_second;
        let set = [("SYNC_DEVICE_RATE", "8")];
        assert_eq!(rate(&[], &[]), (7, default));
        assert_eq!(rate(&[], &set), (8, default));
        assert_eq!(rate(&["--device-rate", "9"], &set), (9, default));
        assert_eq!(rate(&["--device-rate=9"], &set), (9, default));
        let without = serve(
            vec!["omega-edge", "serve"],
            &[("SYNC_DATA", "d"), ("SYNC_JWT_SECRET_FILE", "s"), ("SYNC_DEV", "true")],
        );
        let without = without.unwrap();
        assert!(without.dev && without.data.to_str() == Some("d"));
        let path = place.folder.path().join("omega.toml");
        let named = serve(vec!["omega-edge", "serve"], &[("SYNC_CONFIG", path.to_str().unwrap())]);
        assert_eq!(named.unwrap().data.to_str(), Some("from-file"));
    }

    #[test]
    fn an_address_comes_from_one_source() {
        let place = Place::new(&format!("{WHOLE}listen = '127.0.0.1:1'\n"));
        let address = |flags: &[&str], set: &[(&str, &str)]| {
            place.read(flags, set).unwrap().address().unwrap().to_string()
        };
        assert_eq!(address(&[], &[]), "127.0.0.1:1");
        assert_eq!(address(&[], &[("SYNC_PORT", "2")]), "127.0.0.1:2");
        let all = [("SYNC_PORT", "2"), ("SYNC_HOST", "::1")];
        assert_eq!(address(&[], &all), "[::1]:2");
        assert_eq!(address(&["--listen", "127.0.0.1:3"], &all), "127.0.0.1:3");
        assert_eq!(address(&["--port", "4"], &all), "127.0.0.1:4");
        assert_eq!(address(&["--port", "4"], &[("SYNC_LISTEN", "127.0.0.1:5")]), "127.0.0.1:4");
    }

    #[test]
    fn what_is_wrong_in_a_file_is_named() {
        for (line, expected) in [
            ("device-rat = 1", "there is no setting 'device-rat'; did you mean 'device-rate'?"),
            ("device_rate = 1", "there is no setting 'device_rate'; did you mean 'device-rate'?"),
            ("config = 'x'", "there is no setting 'config'"),
            ("household = 'x'", "there is no setting 'household'"),
            ("device-rate = [1]", "device-rate in"),
            ("device-rate = -1", "use a number from 0 to"),
            ("dev = 'perhaps'", "must be true or false, not 'perhaps'"),
            ("dev", "line 3:"),
        ] {
            let text = format!("data = 'd'\njwt-secret-file = 's'\n{line}\n");
            let error = Place::new(&text).error(&[]);
            assert!(error.contains(expected), "{line}: {error}");
            assert!(error.contains("omega.toml") && !error.contains('\n'), "{line}: {error}");
        }
        let missing = serve(vec!["omega-edge", "serve", "--config", "/nowhere/x.toml"], &[]);
        assert!(missing.unwrap_err().starts_with("/nowhere/x.toml: "));
    }

    #[test]
    fn what_is_wrong_in_the_environment_is_named() {
        let place = Place::new(WHOLE);
        for (name, value) in [
            ("SYNC_DEVICE_RATE", "100001"),
            ("SYNC_PORT", "70000"),
            ("SYNC_LOG", "loud"),
            ("SYNC_DEV", "yes"),
            ("DELTA_SYNC_ENABLED", "no"),
            ("DELTA_SYNC_COMPRESSION", "TRUE"),
            ("DELTA_SYNC_MIN_BATCH_SIZE", "0"),
            ("DELTA_SYNC_MIN_BATCH_SIZE", "three"),
            ("DELTA_SYNC_MIN_BATCH_SIZE", ""),
        ] {
            let error = place.error(&[(name, value)]);
            assert!(error.contains(name), "{name}: {error}");
        }
    }

    #[test]
    fn one_file_serves_all_commands() {
        let place = Place::new(&format!("{WHOLE}static = 'site'\n"));
        let path = place.folder.path().join("omega.toml");
        let token = [
            ["omega-edge", "token", "--household"],
            ["h", "--device", "d"],
            ["--config", path.to_str().unwrap(), "--scope=read"],
        ];
        let token = Cli::read_with(token.concat(), &|_| None).unwrap().unwrap();
        let config::Command::Token(token) = token.command else { panic!("{token:?}") };
        assert_eq!(token.jwt_secret_file.to_str(), Some("secret"));
        let site = place.read(&[], &[]).unwrap().static_folder.unwrap();
        assert_eq!(site.to_str(), Some("site"));
    }
}
