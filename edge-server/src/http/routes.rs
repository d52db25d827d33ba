//! The list of all routes, but those of `--dev` and the static files: what each is for, who may use
//! it, what it takes and gives.

use crate::error::Kind;
use crate::http::admin::{
    Key, KeyRequest, LIST_PARAMETERS, RevocationRequest, Revocations, Revoked,
    TAKE_BACK_PARAMETERS, TakenBack, renew_key, revocations, revoke, take_back,
};
use crate::http::devices::{
    Commanded, DeviceChange, DeviceChanged, Devices, HandedOff, HandoffRequest, command, describe,
    devices, forget, handoff,
};
use crate::http::export::{ERASE_PARAMETERS, Erased, Export, erase, export};
use crate::http::health::{Health, PROBE, health};
use crate::http::household::{
    PAGE_PARAMETERS, Page, ProgressItem, ProgressNoted, ProgressUpdate, WatchlistChange,
    WatchlistChanged, WatchlistItem, change_watchlist, note_progress, progress, watchlist,
};
use crate::http::metrics::{self, TEXT};
use crate::http::oauth::{
    DeviceCodes, DeviceRequest, OAuthError, RevokeRequest, TokenRequest, Tokens, authorize,
    revoke as give_back, token,
};
use crate::http::openapi::{HTML, document, reference};
use crate::http::pair::{
    CODE_PARAMETER, PICTURE_PARAMETER, PairingAnswer, PairingDescribed, PairingForm, SVG, answer,
    page, picture, submit,
};
use crate::http::route::{Access, Content, Need, Route};
use crate::http::sync::{BINARY, sync};
use crate::http::taste::{
    Contributions, Fed, Feed, SyncVersion, TakesPart, contributions, feed, opt_in, opt_out, tables,
    version,
};
use crate::json::command::CommandBody;
use crate::limits::FEED_BYTES_MAX;
use crate::ws;
use axum::routing::{delete, get, patch, post};
use omega_sync_core::message::EXCHANGE_BYTES_MAX;
use serde_json::Value;

/// What is wrong with a list that can't be read.
const REFUSED: &[Kind] = &[Kind::ProfileUnknown, Kind::ProfileDeleted];
/// What is wrong with a change of a watchlist that the household does not take.
const WATCHLIST_REFUSED: &[Kind] = &[
    Kind::NotOnWatchlist,
    Kind::ProfileUnknown,
    Kind::ProfileDeleted,
    Kind::HouseholdFull,
    Kind::Drift,
];
/// What is wrong with progress that the household does not take.
const PROGRESS_REFUSED: &[Kind] = &[
    Kind::Superseded,
    Kind::ProfileUnknown,
    Kind::ProfileDeleted,
    Kind::HouseholdFull,
    Kind::Drift,
];
/// What is wrong with a one-shot session.
const SYNC_REFUSED: &[Kind] = &[
    Kind::Malformed,
    Kind::Invalid,
    Kind::VersionUnsupported,
    Kind::HouseholdMismatch,
    Kind::StaleSession,
];
/// Why a device does not get a command.
const COMMAND_REFUSED: &[Kind] = &[Kind::DeviceUnknown, Kind::DeviceOffline, Kind::NotSupported];
/// Why a title does not go on on another device.
const HANDOFF_REFUSED: &[Kind] =
    &[Kind::DeviceUnknown, Kind::DeviceOffline, Kind::NotSupported, Kind::Expired];

/// Every route.
pub(crate) fn all() -> Vec<Route> {
    let mut all = operator();
    all.extend(pairing());
    all.extend(sessions());
    all.extend(lists());
    all.extend(taste());
    all.extend(household());
    all.extend(devices_and_commands());
    all.extend(revoking());
    all
}

/// Those that speak the binary protocol.
fn sessions() -> [Route; 2] {
    [
        Route::get("/ws", Access::Own, get(ws::upgrade))
            .about("Open a WebSocket for the binary protocol")
            .gives_content(101, Content::Nothing)
            .refuses(&[Kind::UpgradeRequired]),
        Route::post("/api/v1/sync", Access::Own, post(sync))
            .about("Have a whole session of the binary protocol in one request")
            .takes_other(BINARY, EXCHANGE_BYTES_MAX)
            .gives_content(200, Content::Other(BINARY))
            .refuses(SYNC_REFUSED),
    ]
}

/// Those that read and write what the household watches.
fn lists() -> [Route; 4] {
    let read = Access::Scope(Need::Read);
    let write = Access::Scope(Need::Write);
    [
        Route::post("/api/v1/sync/watchlist", write, post(change_watchlist))
            .about("Put a title on a watchlist or take it off")
            .takes::<WatchlistChange>()
            .gives::<WatchlistChanged>(200)
            .refuses(WATCHLIST_REFUSED),
        Route::post("/api/v1/sync/progress", write, post(note_progress))
            .about("Note how far a title was watched")
            .takes::<ProgressUpdate>()
            .gives::<ProgressNoted>(200)
            .refuses(PROGRESS_REFUSED),
        Route::get("/api/v1/watchlist", read, get(watchlist))
            .about("List the titles on a watchlist")
            .packed()
            .parameters(PAGE_PARAMETERS)
            .gives::<Page<WatchlistItem>>(200)
            .gives_content(304, Content::Nothing)
            .refuses(REFUSED),
        Route::get("/api/v1/progress", read, get(progress))
            .about("List how far titles were watched")
            .packed()
            .parameters(PAGE_PARAMETERS)
            .gives::<Page<ProgressItem>>(200)
            .gives_content(304, Content::Nothing)
            .refuses(REFUSED),
    ]
}

/// Those about what all households teach.
fn taste() -> [Route; 6] {
    let read = Access::Scope(Need::Read);
    let write = Access::Scope(Need::Write);
    [
        Route::get("/api/v1/sync/version", read, get(version))
            .about("Say which version the global patterns have")
            .gives::<SyncVersion>(200),
        Route::get("/api/v1/taste/contributions", read, get(contributions))
            .about("Show what waits of the household to be counted")
            .packed()
            .gives::<Contributions>(200),
        Route::get("/api/v1/taste/tables/{id}", read, get(tables))
            .about(
                "Hand out the tables that patterns are coded with, by the id that an answer names",
            )
            .gives_content(200, Content::Other(BINARY))
            .refuses(&[Kind::NotFound]),
        Route::post("/api/v1/taste/opt-out", write, post(opt_out))
            .about("Take no part in global patterns and trends, and erase what waits")
            .gives::<TakesPart>(200),
        Route::delete("/api/v1/taste/opt-out", write, delete(opt_in))
            .about("Take part in global patterns and trends again")
            .gives::<TakesPart>(200),
        Route::post("/api/v1/content", Access::Scope(Need::Admin), post(feed))
            .about("Feed titles and their embeddings to devices and to the clusters of patterns")
            .takes::<Feed>()
            .up_to(FEED_BYTES_MAX)
            .gives::<Fed>(200),
    ]
}

/// Those about all that is held of a household.
fn household() -> [Route; 2] {
    let read = Access::Scope(Need::Read);
    [
        Route::get("/api/v1/household/export", read, get(export))
            .about("Read everything that the server holds of the household")
            .packed()
            .gives::<Export>(200)
            .refuses(&[Kind::Invalid]),
        Route::delete("/api/v1/household", Access::Scope(Need::WriteControl), delete(erase))
            .about("Erase everything that the server and the devices hold of the household")
            .parameters(ERASE_PARAMETERS)
            .gives::<Erased>(200),
    ]
}

/// Those about devices, and what they tell each other to do.
fn devices_and_commands() -> [Route; 5] {
    let read = Access::Scope(Need::Read);
    let write = Access::Scope(Need::Write);
    let control = Access::Scope(Need::Control);
    [
        Route::get("/api/v1/devices", read, get(devices))
            .about("List the household's devices")
            .packed()
            .gives::<Devices>(200)
            .gives_content(304, Content::Nothing)
            .refuses(&[Kind::Invalid]),
        Route::patch("/api/v1/devices/{id}", write, patch(describe))
            .about("Give a device another name, or say what the own device is and can")
            .takes::<DeviceChange>()
            .gives::<DeviceChanged>(200)
            .refuses(&[Kind::DeviceUnknown, Kind::HouseholdFull]),
        Route::delete("/api/v1/devices/{id}", Access::Scope(Need::WriteControl), delete(forget))
            .about("Forget a device, and end its sessions and tokens")
            .gives::<DeviceChanged>(200)
            .refuses(&[Kind::DeviceUnknown, Kind::HouseholdFull]),
        Route::post("/api/v1/devices/handoff", control, post(handoff))
            .about("Let a title go on on another device")
            .takes::<HandoffRequest>()
            .gives::<HandedOff>(200)
            .refuses(HANDOFF_REFUSED),
        Route::post("/api/v1/devices/{id}/commands", control, post(command))
            .about("Tell another device what to do")
            .takes::<CommandBody>()
            .gives::<Commanded>(202)
            .refuses(COMMAND_REFUSED),
    ]
}

/// Those that end tokens before their time.
fn revoking() -> [Route; 3] {
    const PATH: &str = "/api/v1/admin/revocations";
    let admin = Access::Scope(Need::Admin);
    [
        Route::post(PATH, admin, post(revoke))
            .about("Revoke a token, or all tokens of a household or device up to a time")
            .takes::<RevocationRequest>()
            .gives::<Revoked>(200),
        Route::get(PATH, admin, get(revocations))
            .about("List what is revoked")
            .packed()
            .parameters(LIST_PARAMETERS)
            .gives::<Revocations>(200),
        Route::delete(PATH, admin, delete(take_back))
            .about("Take a revocation back: tokens that have not ended count again")
            .parameters(TAKE_BACK_PARAMETERS)
            .gives::<TakenBack>(200),
    ]
}

/// Those that pair devices.
fn pairing() -> [Route; 8] {
    let admin = Access::Scope(Need::Admin);
    [
        Route::post("/oauth/device_authorization", Access::Open, post(authorize))
            .about("Ask for a code with which somebody pairs this device (RFC 8628)")
            .takes_form::<DeviceRequest>()
            .gives::<DeviceCodes>(200)
            .gives::<OAuthError>(400)
            .refuses(&[Kind::NotFound]),
        Route::post("/oauth/token", Access::Open, post(token))
            .about("Get tokens for a code that was allowed, or for a refresh token")
            .takes_form::<TokenRequest>()
            .gives::<Tokens>(200)
            .gives::<OAuthError>(400)
            .refuses(&[Kind::NotFound]),
        Route::post("/oauth/revoke", Access::Open, post(give_back))
            .about("Give a pairing back (RFC 7009)")
            .takes_form::<RevokeRequest>()
            .gives_content(200, Content::Nothing)
            .gives::<OAuthError>(400)
            .refuses(&[Kind::NotFound]),
        Route::get("/pair", Access::Open, get(page))
            .about("The page on which people type a device's code")
            .parameters(CODE_PARAMETER)
            .gives_content(200, Content::Other(HTML))
            .refuses(&[Kind::NotFound]),
        Route::post("/pair", Access::Open, post(submit))
            .about("What that page sends; the answer is a page too")
            .takes_form::<PairingForm>()
            .gives_content(200, Content::Other(HTML))
            .gives_content(403, Content::Other(HTML))
            .gives_content(409, Content::Other(HTML))
            .gives_content(422, Content::Other(HTML))
            .gives_content(429, Content::Other(HTML))
            .refuses(&[Kind::NotFound, Kind::Malformed]),
        Route::get("/pair/qr.svg", Access::Open, get(picture))
            .about("The page's address with a code in it, as a QR code")
            .parameters(PICTURE_PARAMETER)
            .gives_content(200, Content::Other(SVG))
            .refuses(&[Kind::NotFound]),
        Route::post("/api/v1/pairing", Access::Scope(Need::Control), post(answer))
            .about("Answer a device that wants to be paired with this household")
            .takes::<PairingAnswer>()
            .gives::<PairingDescribed>(200)
            .refuses(&[Kind::NotFound, Kind::CodeUnknown]),
        Route::post("/api/v1/admin/pairing-keys", admin, post(renew_key))
            .about("Give a household a new key with which its members pair devices in a browser")
            .takes::<KeyRequest>()
            .gives::<Key>(200)
            .refuses(&[Kind::NotFound]),
    ]
}

/// Those that tell how the server does.
fn operator() -> Vec<Route> {
    let route = |path, handler| Route::get(path, Access::Operator, handler);
    let health = |path| {
        route(path, get(health))
            .about("Say whether the server lives, and whether it is ready")
            .parameters(PROBE)
            .gives::<Health>(200)
            .gives::<Health>(503)
    };
    vec![
        health("/health"),
        health("/api/v1/health"),
        route("/metrics", get(metrics::text))
            .about("Figures for Prometheus")
            .packed()
            .gives_content(200, Content::Other(TEXT)),
        route("/openapi.json", get(document))
            .about("This description")
            .packed()
            .gives::<Value>(200),
        route("/docs", get(reference))
            .about("This description as a page")
            .packed()
            .gives_content(200, Content::Other(HTML)),
    ]
}
