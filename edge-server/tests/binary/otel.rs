//! Spans, as a collector gets them from the built binary.

use super::*;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, Sender, channel};

/// A batch, as it came and as it is meant.
struct Batch {
    head: String,
    body: Vec<u8>,
    service: String,
    spans: Vec<Span>,
}

/// A collector: takes what is posted to it, and answers as OTLP wants it.
struct Collector {
    endpoint: String,
    batches: Receiver<Batch>,
    seen: Vec<Batch>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (sender, batches) = channel();
        // Both end with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let sender = sender.clone();
                std::thread::spawn(move || take(stream.unwrap(), &sender));
            }
        });
        Self { endpoint, batches, seen: Vec::new() }
    }

    fn variables(&self) -> [(&str, &str); 1] {
        [("OTEL_EXPORTER_OTLP_ENDPOINT", &self.endpoint)]
    }

    /// Waits for a span that is so.
    fn until(&mut self, so: impl Fn(&Span) -> bool) -> Span {
        loop {
            let spans = self.seen.iter().flat_map(|batch| &batch.spans);
            if let Some(found) = spans.into_iter().find(|span| so(span)) {
                return found.clone();
            }
            self.seen.push(self.batches.recv_timeout(DEADLINE).expect("a span like that"));
        }
    }
}

fn take(mut stream: TcpStream, sender: &Sender<Batch>) {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap() == 0 {
            return;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head.push_str(&line);
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let request = ExportTraceServiceRequest::decode(&*body).unwrap();
    let of = request.resource_spans;
    let service = of[0].resource.as_ref().map(|resource| attributes(&resource.attributes));
    let service = service.unwrap()["service.name"].clone();
    let spans = of.into_iter().flat_map(|of| of.scope_spans).flat_map(|of| of.spans).collect();
    let answer = ExportTraceServiceResponse::default().encode_to_vec();
    let head_of_it = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", answer.len());
    stream.write_all(head_of_it.as_bytes()).unwrap();
    stream.write_all(&answer).unwrap();
    // The test may be over.
    let _ = sender.send(Batch { head, body, service, spans });
}

fn attributes(of: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: Option<&AnyValue>| match value.and_then(|value| value.value.clone()) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    of.iter().map(|pair| (pair.key.clone(), text(pair.value.as_ref()))).collect()
}

fn is(span: &Span, name: &str, id: &str) -> bool {
    span.name == name && attributes(&span.attributes).get("id").is_some_and(|known| known == id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_gets_a_request_with_its_id_and_its_commit() {
    let place = Place::new();
    let token = place.token("tv");
    let mut collector = Collector::start();
    let endpoint = collector.endpoint.clone();
    let edge = place.start_in(
        // The log's level is the log's.
        &["--log", "error"],
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=living-room"),
            ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ],
    );
    let (status, _) = edge.ask(&token, ADD, &adding("a-secret-title"));
    assert_eq!(status, 200);
    let request = collector.until(|span| is(span, "request", "a-program"));
    let said = attributes(&request.attributes);
    assert_eq!((said["method"].as_str(), said["status"].as_str()), ("POST", "200"));
    assert_eq!(said["route"], "/api/v1/sync/watchlist");
    assert!(request.parent_span_id.is_empty());
    assert!(request.end_time_unix_nano > request.start_time_unix_nano);
    for name in ["load", "commit"] {
        let part = collector.until(|span| span.name == name);
        assert_eq!(part.trace_id, request.trace_id, "{name}");
        assert_eq!(part.parent_span_id, request.span_id, "{name}");
        assert!(part.end_time_unix_nano <= request.end_time_unix_nano, "{name}");
    }

    assert_eq!(edge.ask(&token, "GET /a-secret-title?token=a-secret-title", "").0, 404);
    collector.until(|span| attributes(&span.attributes).get("status").is_some_and(|s| s == "404"));
    let mut tv = connect(&edge, &token, 1).await;
    tv.operate(Intent::Add(ProfileId::DEFAULT, title("a-secret-title-too"))).await.unwrap();
    tv.until(|tv| tv.client.replica().outbox().is_empty()).await.unwrap();
    drop(tv);
    let session = collector.until(|span| is(span, "session", "a-tv"));
    let commit = collector.until(|span| span.parent_span_id == session.span_id);
    assert_eq!((commit.name.as_str(), &commit.trace_id), ("commit", &session.trace_id));

    let log = edge.kill();
    assert_eq!(log, "", "nothing is an error");
    for Batch { head, body, service, spans } in &collector.seen {
        assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
        assert!(head.to_lowercase().contains("content-type: application/x-protobuf"), "{head}");
        assert!(head.to_lowercase().contains("x-tenant: living-room"), "{head}");
        assert_eq!(service, "omega-edge");
        let known = ["request", "session", "load", "commit"];
        assert!(spans.iter().all(|span| known.contains(&span.name.as_str())), "{spans:?}");
        assert!(spans.iter().all(|span| span.events.is_empty()), "the log stays in the log");
        let text = String::from_utf8_lossy(body);
        for secret in token.split('.').chain(["a-secret-title"]) {
            assert!(!text.contains(secret), "a span has {secret}: {text}");
        }
    }
}

#[test]
fn a_server_that_ends_sends_its_last_spans() {
    let place = Place::new();
    let mut collector = Collector::start();
    let [endpoint] = collector.variables();
    let edge = place.start_in(&[], &[endpoint, ("OTEL_BSP_SCHEDULE_DELAY", "3600000")]);
    assert_eq!(edge.ask(&place.token("tv"), ADD, &adding("one")).0, 200);
    assert!(collector.batches.try_recv().is_err(), "it is not time yet");
    edge.stop();
    collector.until(|span| is(span, "request", "a-program"));
}

#[test]
fn a_collector_that_is_down_or_hangs_stops_nothing() {
    // More than the queue keeps.
    const REQUESTS: usize = 500;
    let hangs = TcpListener::bind("127.0.0.1:0").unwrap();
    let down = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let hanging = hangs.local_addr().unwrap();
    for collector in [hanging, down] {
        let place = Place::new();
        let token = place.token("backend");
        let endpoint = format!("http://{collector}");
        let edge = place.start_in(
            &["--device-rate", "0", "--household-rate", "0"],
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
                ("OTEL_BSP_SCHEDULE_DELAY", "10"),
                ("OTEL_BSP_MAX_QUEUE_SIZE", "64"),
                ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "16"),
            ],
        );
        for _ in 0..REQUESTS {
            assert_eq!(edge.ask(&token, LIST, "").0, 200);
        }
        assert_eq!(edge.ask(&token, ADD, &adding("one")).0, 200);
        let log = edge.stop();
        let complaints = log.matches("spans can't be sent").count();
        assert!(complaints <= 1, "said once, not for each batch");
        assert!(collector == hanging || complaints == 1, "{log}");
    }
}

#[test]
fn an_endpoint_that_is_none_is_refused() {
    let place = Place::new();
    for wrong in ["collector:4318", "grpc://localhost:4317", "http://a b"] {
        let mut serve = Command::new(EDGE);
        serve.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(place.folder.path());
        serve.arg("--jwt-secret-file").arg(place.secret());
        let ended = serve.env("OTEL_EXPORTER_OTLP_ENDPOINT", wrong).output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(2), "{wrong}: {said}");
        assert!(said.contains("OTEL_EXPORTER_OTLP_ENDPOINT"), "{wrong}: {said}");
    }
}
