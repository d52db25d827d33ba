//! Pairing a TV on the running server: from its code to its tokens, and all that must not work.

use super::revocation::next_second;
use super::*;
use crate::aggregate::region::Region;
use crate::http::oauth::DEVICE_CODE;
use serde_json::{Value, json};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const AFAR: (&str, &str) = ("x-forwarded-for", "192.0.2.1");

/// Limits with which a TV may ask again at once.
pub(super) fn quick() -> Limits {
    let pairing = Bounds { poll_every: Duration::ZERO, ..limits().pairing };
    Limits { pairing, ..limits() }
}

impl Home {
    /// A form from elsewhere than this machine.
    async fn form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let body = serde_urlencoded::to_string(fields).unwrap();
        self.ask(&format!("POST {path}"), &[FORM, AFAR], &body).await
    }

    pub(super) async fn ask_for_code(&self) -> Value {
        let fields = [
            ("client_id", "tv-app"),
            ("device_id", "tv-new"),
            ("device_name", "Living <room>"),
            ("ignored", "x"),
            ("scope", ""),
        ];
        let answer = self.form("/oauth/device_authorization", &fields).await;
        assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")));
        answer.json()
    }

    async fn poll(&self, codes: &Value) -> Answer {
        let code = codes["device_code"].as_str().unwrap();
        let fields = [("grant_type", DEVICE_CODE), ("device_code", code), ("client_id", "tv-app")];
        self.form("/oauth/token", &fields).await
    }

    pub(super) async fn refresh(&self, token: &str) -> Answer {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", token)];
        self.form("/oauth/token", &fields).await
    }

    async fn decide(&self, codes: &Value, decision: &str, scope: &str) -> Answer {
        let bearer = format!("Bearer {}", token_of("home", "phone", scope));
        let headers = [("authorization", &*bearer), ("content-type", "application/json")];
        let body = json!({"user_code": codes["user_code"], "decision": decision}).to_string();
        self.ask("POST /api/v1/pairing", &headers, &body).await
    }

    /// A TV that is paired: its tokens.
    pub(super) async fn paired(&self) -> Value {
        let codes = self.ask_for_code().await;
        assert_eq!(self.decide(&codes, "allow", "read write control").await.status, 200);
        let answer = self.poll(&codes).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    async fn key(&self, household: &str) -> String {
        self.key_in(household, Value::Null).await
    }

    async fn key_in(&self, household: &str, region: Value) -> String {
        let bearer = format!("Bearer {}", token("operator", "admin"));
        let headers = [("authorization", &*bearer), ("content-type", "application/json")];
        let body = json!({"household": household, "region": region}).to_string();
        let answer = self.ask("POST /api/v1/admin/pairing-keys", &headers, &body).await;
        assert_eq!(answer.json()["region"], region);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        answer.json()["key"].as_str().unwrap().into()
    }

    pub(super) async fn works(&self, token: &Value) -> u16 {
        let bearer = format!("Bearer {}", token.as_str().unwrap());
        self.ask("GET /api/v1/watchlist", &[("authorization", &bearer)], "").await.status
    }
}

/// With what a page answers a code.
fn ticket(page: &Answer) -> &str {
    let ticket = page.body.split("name=\"ticket\" value=\"").nth(1).unwrap();
    ticket.split('"').next().unwrap()
}

pub(super) fn oauth_error(answer: &Answer) -> String {
    assert_eq!((answer.status, answer.header("content-type")), (400, Some("application/json")));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let error = answer.json();
    assert!(!error["error_description"].as_str().unwrap().is_empty());
    error["error"].as_str().unwrap().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_allows_a_tv_which_gets_tokens_of_the_household() {
    let home = home_with(quick()).await;
    let codes = home.ask_for_code().await;
    let code = codes["user_code"].as_str().unwrap();
    assert_eq!(code.len(), 9);
    let uri = codes["verification_uri"].as_str().unwrap();
    assert_eq!(codes["verification_uri_complete"], format!("{uri}?user_code={code}"));
    assert_eq!((&codes["expires_in"], &codes["device_id"]), (&json!(600), &json!("tv-new")));
    assert_eq!(oauth_error(&home.poll(&codes).await), "authorization_pending");
    let shown = home.decide(&codes, "show", "control").await.json();
    assert_eq!(
        (&shown["device_name"], &shown["client_id"]),
        (&json!("Living <room>"), &json!("tv-app"))
    );
    // Nobody gives more than they have.
    let allowed = home.decide(&codes, "allow", "read control").await.json();
    assert_eq!(
        (&allowed["scope"], &allowed["decision"]),
        (&json!("read control"), &json!("allow"))
    );
    let answer = home.poll(&codes).await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")));
    let tokens = answer.json();
    assert_eq!((&tokens["token_type"], &tokens["expires_in"]), (&json!("Bearer"), &json!(3600)));
    assert_eq!(tokens["scope"], "read control");
    let access = tokens["access_token"].as_str().unwrap();
    let claims = jsonwebtoken::dangerous::insecure_decode::<Value>(access).unwrap().claims;
    assert_eq!((&claims["sub"], &claims["did"]), (&json!("home"), &json!("tv-new")));
    assert_eq!(home.works(&tokens["access_token"]).await, 200);
    assert_eq!(oauth_error(&home.poll(&codes).await), "invalid_grant", "once");
    assert_eq!(home.decide(&codes, "allow", "control").await.problem(), "code_unknown");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_allows_a_tv_with_the_household_s_key() {
    let home = home_with(quick()).await;
    let (key, codes) = (home.key("home").await, home.ask_for_code().await);
    let code = codes["user_code"].as_str().unwrap().to_lowercase();
    let line = format!("GET /pair?user_code={code}");
    let page = home.ask(&line, &[AFAR], "").await;
    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
    assert!(page.body.contains(codes["user_code"].as_str().unwrap()), "filled in");
    assert!(!page.body.contains("<script") && !page.body.contains("Living"), "{}", page.body);
    let fields = [("user_code", &*code), ("household", "home"), ("key", &*key.to_lowercase())];
    let page = home.form("/pair", &fields).await;
    assert_eq!(page.status, 200, "{page:?}");
    assert!(page.body.contains("Living &lt;room&gt;") && page.body.contains("tv-new"));
    let ticket = ticket(&page);
    let decide = [("user_code", &*code), ("ticket", ticket), ("decision", "allow")];
    assert!(home.form("/pair", &decide).await.body.contains("Done"));
    assert_eq!(home.form("/pair", &decide).await.status, 409, "once");
    let tokens = home.poll(&codes).await.json();
    assert_eq!(tokens["scope"], "read write control");
    assert_eq!(home.works(&tokens["access_token"]).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_does_not_know_the_key_learns_nothing() {
    let home = home_with(quick()).await;
    let (key, other) = (home.key("home").await, home.key("other").await);
    let codes = home.ask_for_code().await;
    let code = codes["user_code"].as_str().unwrap();
    let page = async |code: &str, household: &str, key: &str| {
        home.form("/pair", &[("user_code", code), ("household", household), ("key", key)]).await
    };
    let wrong = page(code, "home", &other).await;
    assert_eq!(wrong.status, 403);
    for (code, household, key) in [
        (code, "home", ""),
        (code, "home", "BCDF-GHJK-LMNP-QRST-VWXZ"),
        (code, "nobody", &*key),
        ("BCDF-GHJK", "home", &*key),
        (code, "", &*key),
        (code, "x\u{1}", &*key),
    ] {
        let answer = page(code, household, key).await;
        assert_eq!(answer.status, 403, "{household} {key}");
        assert!(!answer.body.contains("Living"), "{answer:?}");
        assert!(!answer.body.contains(key) || key.is_empty(), "a key is not shown again");
    }
    assert_eq!(page("BCDF", "home", &key).await.status, 422);
    let evil = page(code, "\"><script>", "x").await;
    assert!(!evil.body.contains("<script"), "{evil:?}");
    let guess = [("user_code", code), ("ticket", "guess"), ("decision", "allow")];
    assert_eq!(home.form("/pair", &guess).await.status, 409);
    assert_eq!(oauth_error(&home.poll(&codes).await), "authorization_pending");
    // A new key takes the place of the old one.
    let newer = home.key("home").await;
    assert_eq!(page(code, "home", &key).await.status, 403);
    assert_eq!(page(code, "home", &newer).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_developer_s_browser_needs_no_key_and_no_other_page_has_it() {
    let home = home_with(quick()).await;
    let codes = home.ask_for_code().await;
    let code = codes["user_code"].as_str().unwrap();
    let body = serde_urlencoded::to_string([("user_code", code), ("household", "home")]).unwrap();
    for strange in [("origin", "https://evil.example"), ("origin", "null"), AFAR] {
        assert_eq!(
            home.ask("POST /pair", &[FORM, strange], &body).await.status,
            403,
            "{strange:?}"
        );
    }
    let rebound = home.ask("POST /pair", &[FORM, ("host", "evil.example")], &body).await;
    assert!(rebound.status >= 400, "{rebound:?}");
    let own = ("origin", "http://localhost:8083");
    assert_eq!(home.ask("POST /pair", &[FORM, own], &body).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_is_a_no_and_who_asks_too_often_waits() {
    let home = home().await;
    let codes = home.ask_for_code().await;
    assert_eq!(codes["interval"], 5);
    assert_eq!(oauth_error(&home.poll(&codes).await), "authorization_pending");
    assert_eq!(oauth_error(&home.poll(&codes).await), "slow_down");
    let home = home_with(quick()).await;
    let codes = home.ask_for_code().await;
    assert_eq!(home.decide(&codes, "deny", "control").await.status, 200);
    assert_eq!(oauth_error(&home.poll(&codes).await), "access_denied");
    let pairing = Bounds { life: Duration::ZERO, ..quick().pairing };
    let home = home_with(Limits { pairing, ..quick() }).await;
    let codes = home.ask_for_code().await;
    assert_eq!(oauth_error(&home.poll(&codes).await), "expired_token");
    assert_eq!(home.decide(&codes, "allow", "control").await.problem(), "code_unknown");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_is_used_once_and_survives_a_restart() {
    let home = home_with(quick()).await;
    let first = home.paired().await;
    let text = |tokens: &Value| tokens["refresh_token"].as_str().unwrap().to_owned();
    let second = home.refresh(&text(&first)).await;
    assert_eq!((second.status, second.header("cache-control")), (200, Some("no-store")));
    let second = second.json();
    assert_ne!(text(&first), text(&second));
    let home = home.restart().await;
    // The answer may be lost: the one before counts until the next was used.
    let lost = home.refresh(&text(&first)).await.json();
    let third = home.refresh(&text(&lost)).await.json();
    assert_eq!(home.works(&third["access_token"]).await, 200);
    // Now it is a theft: all of it ends, the access tokens too.
    assert_eq!(oauth_error(&home.refresh(&text(&first)).await), "invalid_grant");
    assert_eq!(oauth_error(&home.refresh(&text(&third)).await), "invalid_grant");
    assert_eq!(home.works(&third["access_token"]).await, 401);
    let home = home.restart().await;
    assert_eq!(home.works(&third["access_token"]).await, 401);
    assert_eq!(home.works(&json!(token("home", "read"))).await, 200, "another device");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_may_ask_for_less_and_not_for_more() {
    let home = home_with(quick()).await;
    let tokens = home.paired().await;
    let refresh = async |token: &Value, scope: &str| {
        let token = token["refresh_token"].as_str().unwrap();
        let fields = [("grant_type", "refresh_token"), ("refresh_token", token), ("scope", scope)];
        home.form("/oauth/token", &fields).await
    };
    let less = refresh(&tokens, "read").await.json();
    assert_eq!(less["scope"], "read");
    assert_eq!(oauth_error(&refresh(&less, "read admin").await), "invalid_scope");
    assert_eq!(refresh(&less, "read write").await.status, 200, "what was allowed stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_revoked_or_gives_back_is_out() {
    let home = home_with(quick()).await;
    let tokens = home.paired().await;
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let mut socket = home.plain_with(tokens["access_token"].as_str().unwrap()).await;
    assert_eq!(home.form("/oauth/revoke", &[("token", "nonsense")]).await.status, 200);
    assert_eq!(home.form("/oauth/revoke", &[("token", refresh)]).await.status, 200);
    assert_eq!(socket.0.close().await, CloseCode::Unauthorized);
    assert_eq!(oauth_error(&home.refresh(refresh).await), "invalid_grant");
    assert_eq!(home.works(&tokens["access_token"]).await, 401);
    next_second().await;
    let tokens = home.paired().await;
    assert_eq!(home.works(&tokens["access_token"]).await, 200);
    let answer = home.revoke(json!({"household": "home", "device_id": "tv-new"})).await;
    assert_eq!(answer.status, 200);
    assert_eq!(home.works(&tokens["access_token"]).await, 401);
    let refresh = tokens["refresh_token"].as_str().unwrap();
    assert_eq!(oauth_error(&home.refresh(refresh).await), "invalid_grant");
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_are_counted() {
    let pairing = Bounds { guesses: 3, ..quick().pairing };
    let home = home_with(Limits { pairing, ..quick() }).await;
    let guess = [("user_code", "BCDF-GHJK"), ("household", "home"), ("key", "x")];
    let mut statuses = Vec::new();
    for _ in 0..30 {
        statuses.push(home.form("/pair", &guess).await.status);
    }
    assert_eq!(statuses[..3], [403; 3], "{statuses:?}");
    assert!(statuses.contains(&429), "{statuses:?}");
    let codes = home.ask_for_code().await;
    let answer = home.decide(&codes, "allow", "control").await;
    assert!([200, 429].contains(&answer.status), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_oauth_wants_is_checked() {
    let home = home_with(quick()).await;
    let error =
        async |path: &str, fields: &[(&str, &str)]| oauth_error(&home.form(path, fields).await);
    let ask = "/oauth/device_authorization";
    for fields in [
        vec![],
        vec![("client_id", "")],
        vec![("client_id", "a"), ("client_id", "b")],
        vec![("client_id", "a\nb")],
        vec![("client_id", "a"), ("device_name", &*"x".repeat(65))],
        vec![("client_id", "a"), ("device_id", &*"x".repeat(65))],
    ] {
        assert_eq!(error(ask, &fields).await, "invalid_request", "{fields:?}");
    }
    for scope in ["admin", "read admin", "everything", " "] {
        assert_eq!(error(ask, &[("client_id", "a"), ("scope", scope)]).await, "invalid_scope");
    }
    let token = "/oauth/token";
    assert_eq!(error(token, &[]).await, "invalid_request");
    assert_eq!(error(token, &[("grant_type", "password")]).await, "unsupported_grant_type");
    assert_eq!(error(token, &[("grant_type", "refresh_token")]).await, "invalid_request");
    assert_eq!(error(token, &[("grant_type", DEVICE_CODE)]).await, "invalid_request");
    assert_eq!(oauth_error(&home.refresh(&"A".repeat(64)).await), "invalid_grant");
    assert_eq!(error("/oauth/revoke", &[]).await, "invalid_request");
    let json = [("content-type", "application/json")];
    let answer = home.ask("POST /oauth/token", &json, "{}").await;
    assert_eq!(oauth_error(&answer), "invalid_request");
    let long = format!("client_id={}", "x".repeat(9_000));
    let answer = home.ask(&format!("POST {ask}"), &[FORM], &long).await;
    assert_eq!(answer.problem(), "too_large");
    // Without an id the device gets one.
    let first = home.form(ask, &[("client_id", "a")]).await.json();
    let other = home.form(ask, &[("client_id", "a")]).await.json();
    assert_ne!(first["device_id"], other["device_id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_picture_says_what_the_code_says() {
    let home = home_with(quick()).await;
    let codes = home.ask_for_code().await;
    let path = codes["qr_uri"].as_str().unwrap().split("localhost").nth(1).unwrap();
    let picture = home.ask(&format!("GET {path}"), &[AFAR], "").await;
    assert_eq!((picture.status, picture.header("content-type")), (200, Some("image/svg+xml")));
    assert_eq!(scan(&picture.body), codes["verification_uri_complete"].as_str().unwrap());
    assert_eq!(home.ask("GET /pair/qr.svg", &[], "").await.fields(), ["user_code"]);
    assert_eq!(home.ask("GET /pair/qr.svg?user_code=x", &[], "").await.fields(), ["user_code"]);
}

/// What a scanner reads off the picture, drawn at four pixels to a square.
fn scan(svg: &str) -> String {
    const PIXELS: usize = 4;
    let sides: Vec<usize> =
        svg.split("viewBox=\"0 0 ").skip(1).map(|rest| number(rest, ' ')).collect();
    let dark: std::collections::BTreeSet<(usize, usize)> = svg
        .split('M')
        .filter(|square| square.contains("h1v1h-1z"))
        .map(|square| {
            let (x, rest) = square.split_once(' ').unwrap();
            (x.parse().unwrap(), number(rest, 'h'))
        })
        .collect();
    let [side] = sides[..] else { panic!("one picture: {svg}") };
    let mut image =
        rqrr::PreparedImage::prepare_from_greyscale(side * PIXELS, side * PIXELS, |x, y| {
            if dark.contains(&(x / PIXELS, y / PIXELS)) { 0 } else { 255 }
        });
    let grids = image.detect_grids();
    assert_eq!(grids.len(), 1, "a scanner finds one code");
    grids[0].decode().unwrap().1
}

/// The number before the first such letter.
fn number(text: &str, end: char) -> usize {
    text.split(end).next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_address_for_phones_there_is_no_pairing() {
    let folder = tempfile::tempdir().unwrap();
    let mut args = args(folder.path());
    args.dev = false;
    let server = Server::start(&args, limits()).await.unwrap();
    let home = Home { folder, server };
    let answer = home.form("/oauth/device_authorization", &[("client_id", "a")]).await;
    assert_eq!(answer.problem(), "not_found");
    assert_eq!(home.ask("GET /pair", &[], "").await.problem(), "not_found");
    args.access.pair_url = Some("https://sync.example".into());
    let folder = tempfile::tempdir().unwrap();
    args.data = folder.path().join("store");
    let server = Server::start(&args, limits()).await.unwrap();
    let home = Home { folder, server };
    let codes = home.ask_for_code().await;
    assert_eq!(codes["verification_uri"], "https://sync.example/pair");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_allowed_before_a_device_was_forgotten_counts_no_more() {
    let home = home_with(quick()).await;
    let allowed = async || {
        let codes = home.ask_for_code().await;
        assert_eq!(home.decide(&codes, "allow", "read write control").await.status, 200);
        codes
    };
    let codes = allowed().await;
    let answer = home.phone("DELETE /api/v1/devices/tv-new", json!({})).await;
    assert_eq!(answer.status, 200, "a device that may come in can be forgotten: {answer:?}");
    assert_eq!(oauth_error(&home.poll(&codes).await), "access_denied");
    next_second().await;
    let codes = allowed().await;
    assert_eq!(home.revoke(json!({"household": "home"})).await.status, 200);
    assert_eq!(oauth_error(&home.poll(&codes).await), "access_denied");
    next_second().await;
    let codes = allowed().await;
    let erased = home.phone("DELETE /api/v1/household?confirm=erase", json!({})).await;
    assert_eq!(erased.status, 200, "{erased:?}");
    assert_eq!(oauth_error(&home.poll(&codes).await), "invalid_grant");
    // What is allowed from now on counts.
    assert_eq!(home.poll(&allowed().await).await.status, 200);
}

/// The store is slow, the TV is being paired, and the household is erased.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_paired_during_an_erasure_is_not() {
    let home = home_with(quick()).await;
    let codes = home.ask_for_code().await;
    assert_eq!(home.decide(&codes, "allow", "read control").await.status, 200);
    let intruder = home.intruder();
    intruder.hold();
    let later = || tokio::time::sleep(Duration::from_millis(300));
    let erased = async {
        later().await;
        let line = "DELETE /api/v1/household?confirm=erase";
        // On a slow machine it may give up meanwhile.
        while home.phone(line, json!({})).await.status != 200 {}
    };
    let let_go = async {
        later().await;
        later().await;
        intruder.let_go();
    };
    let (told, ..) = tokio::join!(home.poll(&codes), erased, let_go);
    // It may also have been given up, or have come when all was over.
    let refusals = ["access_denied", "invalid_grant"];
    assert!(told.status == 503 || refusals.contains(&&*oauth_error(&told)), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paired_device_s_tokens_say_where_its_household_is() {
    let home = home_with(quick()).await;
    let household = HouseholdId::new("home").unwrap();
    let device = DeviceId::new("phone").unwrap();
    let authority = Authority::new(&Secret::new(SECRET).unwrap(), ISSUER, AUDIENCE);
    let pair = async |region: Option<&Region>| {
        let codes = home.ask_for_code().await;
        let life = Duration::from_secs(60);
        let token = authority.issue(&household, &device, "read control", region, life).unwrap();
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", &*bearer), ("content-type", "application/json")];
        let body = json!({"user_code": codes["user_code"], "decision": "allow"}).to_string();
        assert_eq!(home.ask("POST /api/v1/pairing", &headers, &body).await.status, 200);
        home.poll(&codes).await.json()
    };
    let said = |tokens: &Value| {
        let access = tokens["access_token"].as_str().unwrap();
        jsonwebtoken::dangerous::insecure_decode::<Value>(access).unwrap().claims["region"].clone()
    };
    assert_eq!(said(&pair(None).await), Value::Null);
    // By an app: where its own token says.
    let tokens = pair(Some(&Region::new("DE-BY").unwrap())).await;
    assert_eq!(said(&tokens), "DE-BY");
    assert_eq!(home.works(&tokens["access_token"]).await, 200);
    // In a browser: where the operator said that the key's household is.
    let (key, codes) = (home.key_in("home", json!("FR")).await, home.ask_for_code().await);
    let code = codes["user_code"].as_str().unwrap();
    let fields = [("user_code", code), ("household", "home"), ("key", &*key)];
    let page = home.form("/pair", &fields).await;
    let decide = [("user_code", code), ("ticket", ticket(&page)), ("decision", "allow")];
    assert_eq!(home.form("/pair", &decide).await.status, 200);
    let tokens = home.poll(&codes).await.json();
    assert_eq!(said(&tokens), "FR");
    let home = home.restart().await;
    let tokens = home.refresh(tokens["refresh_token"].as_str().unwrap()).await.json();
    assert_eq!(said(&tokens), "FR", "later ones too");
}
