//! The description of all routes (OpenAPI 3.1), made from the list that the router is made from, and
//! the same as a page that needs nothing from elsewhere.

use crate::error::{Error, Kind};
use crate::http::form::FORM;
use crate::http::problem::{self, Problem};
use crate::http::route::{Access, Content, Parameter, Route};
use crate::http::routes;
use crate::json::schema::{ID_FORMAT, ID_PATTERN, name_formats};
use axum::Json;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::OnceLock;

/// The media type of the page.
pub(crate) const HTML: &str = "text/html; charset=utf-8";
/// The page may do nothing but be looked at.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";
const TOKEN: &str = "token";

/// What may be wrong with a request to any route.
const ALWAYS: [Kind; 5] =
    [Kind::Timeout, Kind::Internal, Kind::Restart, Kind::Overloaded, Kind::StorageUnavailable];
/// The status of an answer after which the connection speaks another protocol.
const UPGRADED: u16 = 101;
/// 16 bytes in base64.
const KEY_PATTERN: &str = "^[A-Za-z0-9+/]{21}[AQgw]==$";
/// What may be wrong with who sends it.
const CALLER: [Kind; 3] = [Kind::Unauthorized, Kind::Forbidden, Kind::DeviceMismatch];
const BODY: [Kind; 4] =
    [Kind::Malformed, Kind::Invalid, Kind::MediaTypeUnsupported, Kind::TooLarge];
const PARAMETERS: [Kind; 2] = [Kind::Malformed, Kind::Invalid];

/// `GET /openapi.json`.
pub(crate) async fn document() -> Json<&'static Value> {
    Json(described())
}

/// `GET /docs`.
pub(crate) async fn reference() -> Result<Response, Error> {
    static PAGE: OnceLock<String> = OnceLock::new();
    let page = PAGE.get_or_init(|| page(described())).as_str();
    Ok(([(CONTENT_TYPE, HTML), (CONTENT_SECURITY_POLICY, POLICY)], page).into_response())
}

/// The description; made when it is asked for first.
fn described() -> &'static Value {
    static DESCRIPTION: OnceLock<Value> = OnceLock::new();
    DESCRIPTION.get_or_init(|| describe(&routes::all()))
}

fn describe(routes: &[Route]) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for route in routes {
        let operations = paths.entry(route.path).or_insert_with(|| json!({}));
        operations[route.method.as_str().to_lowercase()] = operation(route, &mut generator);
    }
    let mut schemas = json!(generator.take_definitions(true));
    name_formats(&mut schemas);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Omega Sync",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Watchlists, progress and devices of a household. The token says which.",
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                TOKEN: {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            },
        },
    })
}

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let mut responses: BTreeMap<String, Value> = BTreeMap::new();
    for (status, given) in &route.gives {
        let mut response = json!({"description": "It is done."});
        if let Some(content) = content(*given, generator) {
            response["content"] = content;
        }
        responses.insert(status.to_string(), response);
    }
    for (status, kinds) in refusals(route) {
        let meanings = kinds.iter().map(|kind| format!("`{}`: {}", kind.code(), kind.meaning()));
        let description = meanings.collect::<Vec<_>>().join("; ");
        let schema = generator.subschema_for::<Problem>();
        let problem = json!({problem::MEDIA_TYPE: {"schema": schema}});
        let response = responses.entry(status.to_string()).or_insert_with(|| json!({}));
        response["description"] = description.into();
        match response.get_mut("content").and_then(Value::as_object_mut) {
            Some(content) => content.extend(problem.as_object().cloned().unwrap_or_default()),
            None => response["content"] = problem,
        }
    }
    let mut operation = json!({
        "summary": route.about,
        "operationId": name(route),
        "responses": responses,
    });
    let scope = match route.access {
        Access::Own => "read",
        Access::Operator => "admin",
        Access::Scope(need) => need.word(),
        Access::Open => "none",
    };
    let token = json!({TOKEN: [scope]});
    operation["security"] = match route.access {
        Access::Scope(_) => json!([token]),
        Access::Open => json!([]),
        // From the server's own machine, or with the token in the body.
        Access::Operator | Access::Own => json!([token, {}]),
    };
    if let Some(content) = content(route.takes, generator) {
        operation["requestBody"] = json!({"required": true, "content": content});
    }
    let upgrades = route.gives.iter().any(|(status, _)| *status == UPGRADED);
    let upgrade = upgrades.then(upgrade_headers).into_iter().flatten();
    let parameters: Vec<Value> =
        in_path(route).chain(route.parameters.iter().map(parameter)).chain(upgrade).collect();
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    operation
}

/// A name for programs: `get_api_v1_watchlist`.
fn name(route: &Route) -> String {
    let path = route.path.replace(|letter: char| !letter.is_ascii_alphanumeric(), "_");
    format!("{}{path}", route.method.as_str().to_lowercase())
}

/// What a request for a WebSocket must say (RFC 6455, section 4.1).
fn upgrade_headers() -> Vec<Value> {
    let header = |name, schema: Value| {
        let place = "header";
        json!({"name": name, "in": place, "required": true, "schema": schema})
    };
    vec![
        header("Connection", json!({"type": "string", "enum": ["Upgrade"]})),
        header("Upgrade", json!({"type": "string", "enum": ["websocket"]})),
        header("Sec-WebSocket-Version", json!({"type": "string", "enum": ["13"]})),
        header("Sec-WebSocket-Key", json!({"type": "string", "pattern": KEY_PATTERN})),
    ]
}

/// The parameters in a route's path, which are ids.
fn in_path(route: &Route) -> impl Iterator<Item = Value> {
    let parts = route.path.split('/');
    let names = parts.filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    names.map(|name| {
        json!({
            "name": name,
            "in": "path",
            "required": true,
            "description": "Which one",
            "schema": {
                "type": "string", "minLength": 1, "maxLength": 64, "format": ID_FORMAT,
                "pattern": ID_PATTERN,
            },
        })
    })
}

fn parameter(parameter: &Parameter) -> Value {
    json!({
        "name": parameter.name,
        "in": "query",
        "required": parameter.required,
        "description": parameter.about,
        "schema": (parameter.schema)(),
    })
}

fn content(content: Content, generator: &mut SchemaGenerator) -> Option<Value> {
    match content {
        Content::Nothing => None,
        Content::Json(schema) => Some(json!({"application/json": {"schema": schema(generator)}})),
        Content::Form(schema) => Some(json!({FORM: {"schema": schema(generator)}})),
        Content::Other(media_type) => Some(json!({media_type: {"schema": {"type": "string"}}})),
    }
}

/// The kinds of problems that a route may answer with, by their status.
fn refusals(route: &Route) -> BTreeMap<u16, BTreeSet<Kind>> {
    let mut kinds: Vec<Kind> = ALWAYS.to_vec();
    if !matches!(route.access, Access::Open) {
        kinds.extend(CALLER);
    }
    kinds.extend(route.refuses);
    match route.takes {
        Content::Nothing => {}
        Content::Json(_) => kinds.extend(BODY),
        Content::Form(_) => kinds.extend([Kind::TooLarge]),
        Content::Other(_) => kinds.extend(BODY.into_iter().filter(|kind| *kind != Kind::Invalid)),
    }
    if !route.parameters.is_empty() {
        kinds.extend(PARAMETERS);
    }
    if in_path(route).next().is_some() {
        kinds.push(Kind::Invalid);
    }
    if !matches!(route.access, Access::Operator) {
        kinds.push(Kind::RateLimited);
    }
    let mut refusals: BTreeMap<u16, BTreeSet<Kind>> = BTreeMap::new();
    for kind in kinds {
        refusals.entry(kind.status()).or_default().insert(kind);
    }
    refusals
}

/// The description as a page.
fn page(document: &Value) -> String {
    let mut html = String::from(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Omega Sync</title><style>\
         body{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
         h2{border-top:1px solid #bbb;padding-top:1rem}code,pre{font:14px monospace}\
         pre{background:#f4f4f4;padding:.5rem;overflow:auto}td,th{text-align:left;padding:.1rem .8rem \
         .1rem 0;vertical-align:top}</style><h1>Omega Sync</h1>",
    );
    let mut add = |text: String| html.push_str(&text);
    for (path, operations) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in operations.as_object().into_iter().flatten() {
            add(format!("<h2><code>{} {}</code></h2>", method.to_uppercase(), escape(path)));
            let scope = &operation["security"][0][TOKEN][0];
            let about = operation["summary"].as_str().unwrap_or_default();
            let scope = scope.as_str().unwrap_or_default();
            add(format!("<p>{}. Scope: <code>{}</code>.</p>", escape(about), escape(scope)));
            add(rows(operation));
            if let Some(body) = operation.get("requestBody") {
                add(format!("<h3>Body</h3><pre>{}</pre>", pretty(&body["content"])));
            }
            for (status, response) in operation["responses"].as_object().into_iter().flatten() {
                let text = response["description"].as_str().unwrap_or_default();
                add(format!("<h3>{}</h3><p>{}</p>", escape(status), escape(text)));
                if let Some(content) = response.get("content").filter(|_| status.starts_with('2')) {
                    add(format!("<pre>{}</pre>", pretty(content)));
                }
            }
        }
    }
    add("<h1>Schemas</h1>".into());
    for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
        let name = escape(name);
        add(format!("<h2 id=\"{name}\"><code>{name}</code></h2><pre>{}</pre>", pretty(schema)));
    }
    html
}

/// The parameters of an operation, as a table.
fn rows(operation: &Value) -> String {
    let mut html = String::new();
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let text = |name: &str| escape(parameter[name].as_str().unwrap_or_default());
        let (name, about, schema) = (text("name"), text("description"), &parameter["schema"]);
        let row =
            format!("<tr><th><code>{name}</code><td>{about}<td><code>{}</code>", pretty(schema));
        // Writing to a text can't fail.
        let _ = write!(html, "{row}");
    }
    if html.is_empty() { html } else { format!("<table>{html}</table>") }
}

fn pretty(value: &Value) -> String {
    escape(&serde_json::to_string_pretty(value).unwrap_or_default())
}

pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_says_what_it_takes_and_gives() {
        let document = describe(&routes::all());
        let schemas = document["components"]["schemas"].as_object().unwrap();
        for route in routes::all() {
            let method = route.method.as_str().to_lowercase();
            let operation = &document["paths"][route.path][&method];
            let place = format!("{method} {}", route.path);
            assert!(!operation["summary"].as_str().unwrap().is_empty(), "{place}");
            assert!(!route.gives.is_empty(), "{place}: what does it answer?");
            let responses = operation["responses"].as_object().unwrap();
            let open = matches!(route.access, Access::Open);
            let caller = ["401", "403"].into_iter().filter(|_| !open);
            for status in ["408", "500", "503"].into_iter().chain(caller) {
                let problem = &responses[status]["content"]["application/problem+json"];
                assert_eq!(problem["schema"]["$ref"], "#/components/schemas/Problem", "{place}");
            }
            let takes = !matches!(route.takes, Content::Nothing);
            assert_eq!(operation.get("requestBody").is_some(), takes, "{place}");
            assert_eq!(route.body_max > 0, takes, "{place}");
        }
        let text = document.to_string();
        for reference in text.split("#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(schemas.contains_key(name), "no schema {name}");
        }
    }

    #[test]
    fn the_page_has_every_route_and_loads_nothing() {
        let page = page(&describe(&routes::all()));
        for route in routes::all() {
            assert!(page.contains(&format!("<code>{} {}</code>", route.method, route.path)));
        }
        for word in ["<script", "src=", "href=", "url(", "@import"] {
            assert!(!page.contains(word), "{word}");
        }
    }
}
