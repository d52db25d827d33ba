//! What a reviewer would otherwise have to look for in every change.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A file beyond this has two subjects.
const FILE_LINES_MAX: usize = 620;
/// Folders in which less is allowed, and functions are counted too.
const STRICT: [&str; 3] = ["core/src", "wasm/src", "edge-server/src"];
const STRICT_FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
/// A constant with such a name bounds something.
const LIMIT_ENDINGS: [&str; 6] = ["_MAX", "_MS", "_MIN", "_EVERY", "_KEPT", "_AIM"];
/// What bounds the numbers of one computation of the core, and nothing that is kept, sent or taken.
const INNER: [&str; 17] = [
    "COMPONENT_MAX",
    "CORRECTION_MIN_MS",
    "DEVIATION_MAX",
    "EARLIEST_MS",
    "GROWTH_MAX",
    "LAMBDA_MAX",
    "NUMBER_DIGITS_MAX",
    "NUMBER_MAX",
    "POOL_MAX",
    "POOL_MIN",
    "PRIOR_MAX",
    "QUANTUM_MAX",
    "QUERIES_MAX",
    "RANGE_MIN",
    "TOLD_MAX",
    "UNARY_MAX",
    "WALL_MAX_MS",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of ours").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs" || ending == "ts") {
                let text = fs::read_to_string(&path).expect("UTF-8");
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty(), "no sources in {folder}");
    found
}

#[test]
fn core_has_no_clock_no_entropy_and_no_io() {
    let forbidden = [
        "SystemTime",
        "Instant",
        "std::time",
        "getrandom",
        "rand::",
        "std::net",
        "std::fs",
        "std::thread",
        "async ",
        "HashMap",
        "HashSet",
        "println!",
        "unsafe",
    ];
    for (path, text) in sources("core/src") {
        for word in forbidden {
            assert!(!text.contains(word), "{} has {word}", path.display());
        }
    }
}

#[test]
fn modules_of_the_core_look_only_down() {
    let order = [
        "codec",
        "tag",
        "sorted",
        "rangecoder",
        "id",
        "clock",
        "causal",
        "crdt",
        "operation",
        "delta",
        "household",
        "pattern",
        "command",
        "message",
        "outbox",
        "replica",
        "session",
    ];
    for (path, text) in sources("core/src") {
        let relative = path.strip_prefix(root().join("core/src")).expect("inside");
        let first = relative.components().next().expect("a name").as_os_str().to_string_lossy();
        let module = first.trim_end_matches(".rs").to_owned();
        let Some(place) = order.iter().position(|name| *name == module) else {
            assert_eq!(module, "lib", "{} has no place in the order", relative.display());
            continue;
        };
        let code: String =
            text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        assert!(!code.contains("crate::{"), "{}: a line for each module", relative.display());
        for (above, name) in order.iter().enumerate().skip(place + 1) {
            let used = code.contains(&format!("crate::{name}::"));
            assert!(!used, "{} ({place}) uses {name} ({above})", relative.display());
        }
    }
}

#[test]
fn the_server_keeps_its_layers_apart() {
    for (path, text) in sources("edge-server/src") {
        let name = path.to_string_lossy().into_owned();
        let store = name.contains("/store");
        assert!(!store || !text.contains("axum"), "{name}: a store knows no HTTP");
        let relative = path.strip_prefix(root().join("edge-server/src")).expect("inside");
        let first = relative.components().next().expect("a name").as_os_str().to_string_lossy();
        let module = first.trim_end_matches(".rs");
        let above = ["http", "ws", "dev", "upkeep", "lib", "tests"].contains(&module);
        assert!(above || !text.contains("crate::http"), "{name}: HTTP is above it");
        let below = ["room", "store", "json"].contains(&module);
        assert!(!below || !text.contains("crate::hub"), "{name}: the hub is above it");
        let sql = ["SELECT ", "INSERT INTO", "UPDATE ", "DELETE FROM"];
        let has_sql = sql.iter().any(|word| text.contains(word));
        assert!(store || !has_sql, "{name}: SQL lives in store/ only");
    }
}

#[test]
fn files_have_one_subject_and_lines_fit_a_screen() {
    for folder in ["core/src", "wasm/src", "edge-server/src", "pkg/src", "web-demo/src", "tests"] {
        for (path, text) in sources(folder) {
            if path.to_string_lossy().contains("node_modules") {
                continue;
            }
            let lines = text.lines().count();
            let strict = STRICT.contains(&folder);
            let lines_max = if strict { STRICT_FILE_LINES_MAX } else { FILE_LINES_MAX };
            assert!(lines <= lines_max, "{} has {lines} lines", path.display());
            let data = path.ends_with("catalog.ts");
            let wide = text.lines().position(|line| line.chars().count() > 110);
            assert!(data || wide.is_none(), "{} has a line that is too wide", path.display());
        }
    }
}

#[test]
fn functions_fit_a_screen() {
    for folder in STRICT {
        for (path, text) in sources(folder) {
            for (name, lines) in functions(&text) {
                assert!(lines <= FUNCTION_LINES_MAX, "{}: {name}: {lines}", path.display());
            }
        }
    }
}

/// The first line of each function and how many lines it has, to the brace at its indentation; that of a
/// trait may have no body.
fn functions(text: &str) -> Vec<(&str, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let name = line.trim_start();
        let Some((before, _)) = name.split_once("fn ") else { continue };
        let known = |word: &str| word.starts_with("pub") || ["async", "const"].contains(&word);
        let one = name.ends_with([';', '}']);
        if !one && before.split_whitespace().all(known) {
            let indent = &line[..line.len() - name.len()];
            let ends = |rest: &str| rest == "}" || rest.starts_with(')') && rest.ends_with(';');
            let end =
                lines[at..].iter().position(|line| line.strip_prefix(indent).is_some_and(ends));
            found.push((name, end.expect("a formatted function ends") + 1));
        }
    }
    found
}

#[test]
fn a_limit_has_one_value() {
    let mut values: BTreeMap<String, (String, PathBuf)> = BTreeMap::new();
    for (path, text) in ["core/src", "edge-server/src"].into_iter().flat_map(sources) {
        for (name, value) in text.lines().filter_map(limit) {
            let (first, place) =
                values.entry(name.into()).or_insert_with(|| (value.into(), path.clone()));
            let (path, place) = (path.display(), place.display());
            assert_eq!(value, first, "{name} is one thing in {place} and another in {path}");
        }
    }
}

/// Name and value of a limit, if the line says one.
fn limit(line: &str) -> Option<(&str, &str)> {
    let (before, rest) = line.split_once("const ")?;
    let (name, rest) = rest.split_once(": ")?;
    let is_limit = LIMIT_ENDINGS.iter().any(|end| name.ends_with(end));
    let (_, value) = rest.split_once(" = ")?;
    (is_limit && ["", "pub ", "pub(crate) ", "pub(super) "].contains(&before))
        .then_some((name, value))
}

#[test]
fn the_document_names_every_limit_tag_and_close_code() {
    let document = fs::read_to_string(root().join("docs/protocol.md")).expect("it is there");
    for (path, text) in sources("core/src") {
        for line in text.lines() {
            let Some((name, _)) = limit(line) else { continue };
            let named = document.contains(&format!("`{name}`"));
            assert!(
                named || INNER.contains(&name),
                "{}: {name} is not in the document",
                path.display()
            );
        }
    }
    for code in omega_sync_core::message::CloseCode::ALL {
        let row = format!("| {} | `{}` |", code.code(), code.reason());
        assert!(document.contains(&row), "no row {row}");
    }
    let tags = fs::read_to_string(root().join("core/src/tag.rs")).expect("it is there");
    let tags = tags.lines().filter_map(|line| line.strip_prefix("pub const TAG_"));
    for tag in tags {
        let (name, value) = tag.split_once(": u8 = ").expect("a tag");
        let title = format!("{}{}", &name[..1], name[1..].to_lowercase());
        let heading = format!("**{} {title}**", value.trim_end_matches(';'));
        assert!(document.contains(&heading), "no paragraph {heading}");
    }
}
