//! `docs/configuration.md`, made from the commands' own definition, so that it can't say something else.

use super::Cli;
use super::sources::{settings, variable_of};
use clap::{Arg, ArgAction, Command, CommandFactory};
use std::fmt::Write;

/// The text of the page.
pub fn page() -> String {
    let mut cli = Cli::command();
    cli.build();
    let mut page = String::from(
        "# Configuration\n\n\
         Made from the program: after a change of it, `cargo test -p omega-edge -- --ignored \
         write_the_configuration_page`.\n\n\
         A setting comes from its flag, else from its variable of the environment, else from the file \
         of `--config`, else it has its default. The file is TOML; its keys are the flags' names:\n\n\
         \x20   listen = \"0.0.0.0:8083\"\n\
         \x20   data = \"/var/lib/omega-edge\"\n\
         \x20   jwt-secret-file = \"/etc/omega-edge/secret\"\n\
         \x20   household-rate = 200\n\
         \x20   dev = false\n\n\
         A key that is no setting is an error that names it, and the setting most like it. `serve` \
         and `token` read it, and one file may hold the settings of both. `listen` is the whole address; \
         a source that says `listen`, `host` or `port` takes the place of the sources after it for all \
         three. A switch is `true` or `false` in the environment and the file.\n",
    );
    for command in cli.get_subcommands().filter(|command| command.get_name() != "help") {
        // Writing to a text can't fail.
        let _ = write!(page, "\n## omega-edge {}\n\n", command.get_name());
        page.push_str(&section(command));
    }
    page
}

fn section(command: &Command) -> String {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let mut text =
        format!("{about}.\n\n| flag | variable | default | meaning |\n| --- | --- | --- | --- |\n");
    let elsewhere: Vec<&str> = settings(command).filter_map(|arg| arg.get_long()).collect();
    let shown = command.get_arguments().filter(|arg| arg.get_id() != "help");
    for arg in shown {
        let variable = arg.get_long().filter(|name| elsewhere.contains(name));
        let variable = variable.map(|name| format!("`{}`", variable_of(name))).unwrap_or_default();
        let line = format!(
            "| `{}` | {variable} | {} | {} |\n",
            name(arg),
            default(arg),
            arg.get_help().map(ToString::to_string).unwrap_or_default().replace('|', "\\|"),
        );
        text.push_str(&line);
    }
    text
}

fn name(arg: &Arg) -> String {
    let value = arg.get_value_names().and_then(|names| names.first());
    let value = value.map(ToString::to_string).unwrap_or_default().replace('|', "\\|");
    match (arg.get_long(), arg.get_action()) {
        (Some(name), ArgAction::SetTrue) => format!("--{name}"),
        (Some(name), _) => format!("--{name} {value}"),
        (None, _) => value,
    }
}

fn default(arg: &Arg) -> String {
    let defaults = arg.get_default_values().iter();
    let defaults: Vec<_> = defaults.map(|value| value.to_string_lossy()).collect();
    match (arg.get_action(), defaults.is_empty()) {
        (ArgAction::SetTrue, _) => "`false`".into(),
        (_, false) => format!("`{}`", defaults.join(" ")),
        (_, true) if arg.is_required_set() => "must be given".into(),
        (_, true) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::page;
    use std::path::Path;

    #[test]
    fn the_page_says_what_the_program_takes() {
        let written = include_str!("../../../docs/configuration.md");
        let hint = "run: cargo test -p omega-edge -- --ignored write_the_configuration_page";
        for (written, made) in written.lines().zip(page().lines()) {
            assert_eq!(written, made, "{hint}");
        }
        assert_eq!(written, page(), "{hint}");
    }

    #[test]
    #[ignore = "writes a file of the sources"]
    fn write_the_configuration_page() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
        std::fs::write(path, page()).unwrap();
    }
}
