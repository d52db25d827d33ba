//! The two frames about taste; the encoded patterns in them are bytes here.

use super::meaning::{self, error, hex, number, unhex};
use omega_sync_core::codec::DecodeError;
use omega_sync_core::id::ContentId;
use omega_sync_core::pattern::exchange::{
    ANSWER_BYTES, ANSWER_LISTED_MAX, Answer, Batch, CAP_BYTES_MAX, CAP_BYTES_MIN, Known, Outcome,
    REGION_NAME_BYTES_MAX, Receipt, Request, TRENDS_MAX, Taken, Titles, Trend, Trends,
};
use omega_sync_core::pattern::{Genre, PatternId};
use serde_json::{Value, json};

pub const ABOUT: &str = "Request (client) and Answer (server) about taste. known has version, titles and \
    trends; ids of patterns are 32 hex digits, the highest first; of a message of patterns there are the \
    checksum of its bases and its bytes; receipts are the numbers of docs/protocol.md.";

pub fn vectors() -> Vec<Value> {
    let mut vectors = client();
    vectors.extend(server());
    vectors.extend(bad());
    vectors
}

fn good(name: &str, from: &str, bytes: &[u8]) -> Value {
    let vector = json!({"name": name, "from": from, "bytes": hex(bytes)});
    meaning::with(vector, json!({"frame": frame(from, bytes).expect("it was just written")}))
}

fn wrong(name: &str, from: &str, bytes: &[u8], error: &str) -> Value {
    json!({"name": name, "from": from, "bytes": hex(bytes), "error": error})
}

fn request<'a>() -> Request<'a> {
    Request {
        opted_out: false,
        wants_titles: true,
        known: Known { version: 300, titles: 70_000, trends: 5 },
        position: 0,
        tables: 0xaabb_ccdd,
        answer_bytes: ANSWER_BYTES,
        gone: Vec::new(),
        batch: None,
    }
}

fn message<'a>() -> &'a [u8] {
    &[1, 2, 3]
}

fn everything<'a>() -> Request<'a> {
    let gone = vec![PatternId(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10), PatternId(u128::MAX)];
    let batch = Some(Batch { number: 1_000, message: message() });
    let caps = Request { answer_bytes: CAP_BYTES_MAX, position: 200, ..request() };
    Request { opted_out: true, wants_titles: false, gone, batch, ..caps }
}

fn client() -> Vec<Value> {
    let first = Request { known: Known::default(), tables: 0, ..request() };
    vec![
        good("request of a device that knows nothing", "client", &first.encode()),
        good("request without a batch", "client", &request().encode()),
        good("request with everything", "client", &everything().encode()),
    ]
}

fn trends() -> Trends {
    let genre = |name| Genre::new(name).expect("valid");
    let content = |id| ContentId::new(id).expect("valid");
    let list = vec![
        Trend { content: content("tmdb:550"), genre: genre("drama"), score: 2_500 },
        Trend { content: content("x"), genre: genre("science fiction"), score: 0 },
    ];
    Trends { region: "DE".into(), until_ms: 1_800_000_000_000, list }
}

fn full<'a>() -> Answer<'a> {
    Answer {
        outcome: Outcome::Conflict,
        full: true,
        more: true,
        not_private: true,
        known: Known { version: 8, titles: 301, trends: 2 },
        next: 40,
        epoch: 3,
        tables: 0xaabb_ccdd,
        receipt: Some(Receipt { number: 1_000, taken: Taken::BaseUnknown }),
        patterns: Some(message()),
        removed: vec![PatternId(7)],
        trends: Some(trends()),
        titles: Some(Titles {
            contents: vec![ContentId::new("tmdb:603").expect("valid")],
            message: &[9],
        }),
    }
}

fn server() -> Vec<Value> {
    let mut vectors = vec![
        good("answer without news", "server", &Answer::default().encode()),
        good("answer with everything", "server", &full().encode()),
    ];
    let limited = Answer { outcome: Outcome::RateLimited(600), ..Answer::default() };
    vectors.push(good("answer to somebody who asks too often", "server", &limited.encode()));
    for taken in Taken::ALL {
        let receipt = Some(Receipt { number: 1, taken });
        let answer = Answer { receipt, ..Answer::default() };
        let name = format!("receipt {}", taken as u8);
        vectors.push(good(&name, "server", &answer.encode()));
    }
    vectors
}

fn bad() -> Vec<Value> {
    let mut vectors = Vec::new();
    for (name, cap) in [("little", CAP_BYTES_MIN - 1), ("much", CAP_BYTES_MAX + 1)] {
        let bytes = Request { answer_bytes: cap, ..request() }.encode();
        vectors.push(wrong(&format!("request for too {name}"), "client", &bytes, "limit"));
    }
    let mut bytes = request().encode();
    bytes[1] = 16;
    vectors.push(wrong("request with a flag that nobody knows", "client", &bytes, "invalid"));
    bytes = request().encode();
    bytes[0] = 0x14;
    vectors.push(wrong("request with a number", "client", &bytes, "invalid"));
    bytes = request().encode();
    bytes.push(0);
    vectors.push(wrong("request with a byte after it", "client", &bytes, "trailing"));
    bytes.truncate(5);
    vectors.push(wrong("request that breaks off", "client", &bytes, "truncated"));
    let mut answer = Answer::default().encode();
    answer[1] = 3;
    vectors.push(wrong("answer with an outcome that nobody knows", "server", &answer, "invalid"));
    let receipt = Some(Receipt { number: 1, taken: Taken::Later });
    let mut bytes = Answer { receipt, ..Answer::default() }.encode();
    *bytes.last_mut().expect("some") = Taken::ALL.len() as u8;
    vectors.push(wrong("receipt that nobody knows", "server", &bytes, "invalid"));
    let mut far = full();
    far.trends.as_mut().expect("some").region = "x".repeat(REGION_NAME_BYTES_MAX + 1);
    vectors.push(wrong("region with too long a name", "server", &far.encode(), "limit"));
    // Only the counts: nothing after them is looked at.
    let count = |limit: usize| [(limit + 1) as u8 & 0x7f | 0x80, ((limit + 1) >> 7) as u8];
    let mut many =
        Answer { trends: Some(Trends { list: vec![], ..trends() }), ..Answer::default() };
    let mut bytes = many.encode();
    bytes.pop();
    bytes.extend(count(TRENDS_MAX));
    vectors.push(wrong("too many trends", "server", &bytes, "limit"));
    many = Answer { removed: vec![PatternId(7)], ..Answer::default() };
    bytes = many.encode();
    bytes.truncate(bytes.len() - 17);
    bytes.extend(count(ANSWER_LISTED_MAX));
    vectors.push(wrong("too many that went", "server", &bytes, "limit"));
    let mut upper = full().encode();
    let at = upper.windows(5).position(|word| word == b"drama").expect("there");
    upper[at] = b'D';
    vectors.push(wrong("genre in other letters", "server", &upper, "invalid"));
    vectors
}

pub fn read(vector: &Value) -> Result<Value, &'static str> {
    let from = vector["from"].as_str().expect("a side");
    let frame = frame(from, &unhex(&vector["bytes"])).map_err(error)?;
    Ok(json!({"frame": frame}))
}

fn frame(from: &str, bytes: &[u8]) -> Result<Value, DecodeError> {
    match from {
        "client" => Ok(read_request(&Request::decode(bytes)?)),
        _ => Ok(read_answer(&Answer::decode(bytes)?)),
    }
}

fn known(known: Known) -> Value {
    json!({
        "version": number(known.version),
        "titles": number(known.titles),
        "trends": number(known.trends),
    })
}

fn ids(ids: &[PatternId]) -> Value {
    ids.iter().map(|id| Value::from(format!("{:032x}", id.0))).collect()
}

fn patterns(message: &[u8]) -> Value {
    json!(hex(message))
}

fn read_request(request: &Request) -> Value {
    json!({
        "tag": "request",
        "opted_out": request.opted_out,
        "wants_titles": request.wants_titles,
        "known": known(request.known),
        "position": request.position,
        "tables": request.tables,
        "answer_bytes": request.answer_bytes,
        "gone": ids(&request.gone),
        "batch": request.batch.map(|batch| {
            json!({"number": batch.number, "message": patterns(batch.message)})
        }),
    })
}

fn read_answer(answer: &Answer) -> Value {
    let outcome = match answer.outcome {
        Outcome::Ok => "ok",
        Outcome::Conflict => "conflict",
        Outcome::RateLimited(seconds) => {
            return json!({"tag": "answer", "outcome": "rate_limited", "retry_after_s": seconds});
        }
    };
    let trend = |trend: &Trend| {
        let (content, genre) = (trend.content.as_str(), trend.genre.as_str());
        json!({"content": content, "genre": genre, "score": trend.score})
    };
    json!({
        "tag": "answer",
        "outcome": outcome,
        "full": answer.full,
        "more": answer.more,
        "not_private": answer.not_private,
        "known": known(answer.known),
        "next": answer.next,
        "epoch": number(answer.epoch),
        "tables": answer.tables,
        "receipt": answer.receipt.map(|r| json!({"number": r.number, "taken": r.taken as u8})),
        "patterns": answer.patterns.map(patterns),
        "removed": ids(&answer.removed),
        "trends": answer.trends.as_ref().map(|trends| json!({
            "region": trends.region,
            "until_ms": number(trends.until_ms),
            "list": trends.list.iter().map(trend).collect::<Vec<_>>(),
        })),
        "titles": answer.titles.as_ref().map(|titles| json!({
            "contents": titles.contents.iter().map(ContentId::as_str).collect::<Vec<_>>(),
            "message": patterns(titles.message),
        })),
    })
}
