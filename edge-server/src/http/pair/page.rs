//! The page itself: HTML for a phone, without script, images or anything from elsewhere.
//!
//! Invariant: whatever somebody sent stands in it as text only.

use crate::http::openapi::{HTML, escape};
use crate::pairing::Wish;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_FRAME_OPTIONS,
};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use omega_sync_core::id::HouseholdId;

/// The page may send its form to where it comes from, and be in no other page.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";
const HEADERS: [(HeaderName, &str); 5] = [
    (CONTENT_TYPE, HTML),
    (CONTENT_SECURITY_POLICY, POLICY),
    (CACHE_CONTROL, "no-store"),
    (REFERRER_POLICY, "same-origin"),
    (X_FRAME_OPTIONS, "DENY"),
];
const STYLE: &str = "\
    :root{color-scheme:light dark}\
    *{box-sizing:border-box}\
    body{font:18px/1.5 system-ui,sans-serif;margin:0;background:#f2f4f7;color:#14181f}\
    main{max-width:26rem;margin:0 auto;padding:1.5rem 1.25rem 3rem}\
    h1{font-size:1.6rem;line-height:1.2;margin:.5rem 0 .75rem}\
    p{margin:0 0 1rem}\
    label{display:block;font-weight:600;margin:0 0 1rem}\
    input{display:block;width:100%;font:inherit;margin-top:.25rem;padding:.75rem;\
    border:1px solid #7a8699;border-radius:.6rem;background:#fff;color:inherit}\
    .code{font:600 1.6rem/1.2 ui-monospace,monospace;letter-spacing:.1em;text-transform:uppercase}\
    button{display:block;width:100%;font:inherit;font-weight:600;min-height:3.25rem;margin-top:.75rem;\
    border:2px solid #1455c0;border-radius:.6rem;background:#1455c0;color:#fff}\
    button.no{background:transparent;color:#1455c0}\
    :focus-visible{outline:3px solid #e08a00;outline-offset:2px}\
    .notice{padding:.75rem 1rem;border-radius:.6rem;background:#fde8e6;color:#7a1410}\
    dl{margin:0 0 1rem;padding:1rem;border-radius:.6rem;background:#fff}\
    dt{font-size:.85rem;color:#4c5768}dd{margin:0 0 .75rem;font-weight:600;overflow-wrap:anywhere}\
    dd:last-child{margin:0}\
    @media(prefers-color-scheme:dark){body{background:#14181f;color:#eef1f5}\
    input,dl{background:#1f2530;border-color:#7a8699}dt{color:#a9b4c4}\
    button.no{color:#8db8ff;border-color:#8db8ff}.notice{background:#4a1714;color:#ffd9d5}}";

/// Why the form is there again.
#[derive(Debug, Clone, Copy)]
pub(super) enum Notice {
    /// The code can't be one.
    Code,
    /// Code, household or key is wrong; which one is not said.
    Wrong,
    /// The ticket is over.
    Over,
    /// There were too many attempts.
    TooOften,
}

impl Notice {
    fn status(self) -> StatusCode {
        match self {
            Self::Code => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Wrong => StatusCode::FORBIDDEN,
            Self::Over => StatusCode::CONFLICT,
            Self::TooOften => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Code => "A code has eight letters. Look at the TV again.",
            Self::Wrong => {
                "That does not fit. The code may be over, or the household or its key is another."
            }
            Self::Over => "This was answered already, or took too long. Look at the TV again.",
            Self::TooOften => "Too many attempts. Wait a minute, then try again.",
        }
    }
}

/// What the page shows.
pub(super) enum Page<'a> {
    /// The code, and who asks.
    Ask { code: &'a str, household: &'a str, keyless: bool, notice: Option<Notice> },
    /// What it is about.
    Confirm { code: &'a str, household: &'a HouseholdId, ticket: &'a str, wish: &'a Wish },
    /// What became of it.
    Done { wish: &'a Wish, allowed: bool },
}

impl Page<'_> {
    pub(super) fn answer(&self) -> Response {
        let (status, title, body) = match self {
            Self::Ask { code, household, keyless, notice } => {
                let status = notice.map_or(StatusCode::OK, Notice::status);
                (status, "Connect a TV", ask(code, household, *keyless, *notice))
            }
            Self::Confirm { code, household, ticket, wish } => {
                (StatusCode::OK, "Is this your TV?", confirm(code, household, ticket, wish))
            }
            Self::Done { wish, allowed: true } => {
                let text = format!(
                    "<p><b>{}</b> is connected. It goes on by itself; you can close this page.</p>",
                    escape(name(wish))
                );
                (StatusCode::OK, "Done", text)
            }
            Self::Done { allowed: false, .. } => {
                (StatusCode::OK, "Not connected", "<p>The TV was told no.</p>".into())
            }
        };
        let html = format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
             <title>{title}</title><style>{STYLE}</style><main><h1>{title}</h1>{body}</main></html>"
        );
        (status, HEADERS, html).into_response()
    }
}

fn name(wish: &Wish) -> &str {
    if wish.name.is_empty() { wish.device.as_str() } else { &wish.name }
}

fn ask(code: &str, household: &str, keyless: bool, notice: Option<Notice>) -> String {
    let notice =
        notice.map(|notice| format!("<p class=\"notice\" role=\"alert\">{}</p>", notice.text()));
    let key = match keyless {
        true => String::new(),
        false => "<label>Key of the household\
                  <input name=\"key\" type=\"password\" required autocomplete=\"current-password\" \
                  autocapitalize=\"characters\" spellcheck=\"false\"></label>"
            .into(),
    };
    let household = if keyless && household.is_empty() { "home" } else { household };
    format!(
        "{}<p>Type the code that the TV shows.</p><form method=\"post\" action=\"/pair\">\
         <label>Code<input class=\"code\" name=\"user_code\" value=\"{}\" required maxlength=\"16\" \
         placeholder=\"XXXX-XXXX\" autocomplete=\"off\" autocapitalize=\"characters\" \
         spellcheck=\"false\"></label>\
         <label>Household<input name=\"household\" value=\"{}\" required maxlength=\"64\" \
         autocomplete=\"username\" autocapitalize=\"none\" spellcheck=\"false\"></label>{key}\
         <button>Next</button></form>",
        notice.unwrap_or_default(),
        escape(code),
        escape(household),
    )
}

fn confirm(code: &str, household: &HouseholdId, ticket: &str, wish: &Wish) -> String {
    let words = wish.scope.split(' ').map(|word| match word {
        "read" => "see what the household watches",
        "write" => "change it",
        _ => "control its other devices",
    });
    format!(
        "<p>Go on only if the TV <b>in front of you</b> shows this code. Whoever has the TV can then \
         {}.</p><dl><dt>Code</dt><dd class=\"code\">{code}</dd><dt>TV</dt><dd>{}</dd>\
         <dt>Device</dt><dd>{}</dd><dt>Program</dt><dd>{}</dd><dt>Household</dt><dd>{}</dd></dl>\
         <form method=\"post\" action=\"/pair\">\
         <input type=\"hidden\" name=\"user_code\" value=\"{code}\">\
         <input type=\"hidden\" name=\"ticket\" value=\"{}\">\
         <button name=\"decision\" value=\"allow\">Yes, connect it</button>\
         <button class=\"no\" name=\"decision\" value=\"deny\">No</button></form>",
        words.collect::<Vec<_>>().join(", "),
        escape(name(wish)),
        escape(wish.device.as_str()),
        escape(&wish.client),
        escape(household.as_str()),
        escape(ticket),
    )
}
