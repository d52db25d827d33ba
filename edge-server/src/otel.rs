//! Spans to a collector of OpenTelemetry, by OTLP: protobuf over HTTP. They are the spans that stand in
//! front of the log's lines, with their fields; the lines themselves stay in the log.
//!
//! What ends is put into a queue of bounded length, and a thread of the SDK's sends what has gathered.
//! Invariant: who ends a span never waits; a span that finds no place is dropped.

use crate::error::ProcessError;
use crate::fetch::Address;
use http_body_util::Full;
use opentelemetry::trace::TracerProvider;
use opentelemetry::{Key, KeyValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

/// How long the collector may take to answer a batch.
pub const OTLP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a process that ends waits for its last spans to be sent.
pub const OTLP_FLUSH_TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes of the collector's answer.
const OTLP_ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Path behind the endpoint at which a collector takes spans.
const PATH: &str = "/v1/traces";
/// Spans of libraries say what is ours to decide whether to tell.
const TARGETS: &str = "omega_edge";

/// What sends spans.
pub struct Exporter {
    provider: SdkTracerProvider,
}

impl Exporter {
    /// Sends to a collector, on this runtime. Whether the collector is there does not matter.
    /// The SDK's variables count too: `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_SERVICE_NAME`,
    /// `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER`, `OTEL_BSP_*`.
    ///
    /// # Errors
    /// It is no address.
    pub fn start(endpoint: &str, runtime: &Handle) -> Result<Self, ProcessError> {
        let url = format!("{}{PATH}", endpoint.trim_end_matches('/'));
        let usage = |error: &dyn std::fmt::Display| {
            ProcessError::Usage(format!("OTEL_EXPORTER_OTLP_ENDPOINT: {error}"))
        };
        let address = Address::anywhere(&url, None).map_err(|error| usage(&error))?;
        let client = Client { address, runtime: runtime.clone(), fails: AtomicBool::new(false) };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(url)
            .build()
            .map_err(|error| usage(&error))?;
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter);
        Ok(Self { provider: provider.with_resource(resource()).build() })
    }

    /// What takes spans from the subscriber.
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let ours = filter_fn(|what| {
            what.is_span() && what.target().starts_with(TARGETS) && *what.level() <= Level::INFO
        });
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer(env!("CARGO_PKG_NAME")))
            .with_context_activation(false)
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(ours)
    }

    /// Sends what is left, but not for long; it sends nothing afterwards.
    pub fn flush(&self) {
        if let Err(error) = self.provider.shutdown_with_timeout(OTLP_FLUSH_TIMEOUT) {
            tracing::debug!(%error, "some spans were not sent");
        }
    }
}

/// Who it is that sends them, unless the environment says another name.
fn resource() -> Resource {
    let said = Resource::builder().build();
    let name = Key::from_static_str("service.name");
    let known = said.get(&name).is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = Resource::builder().with_attribute(version);
    let named = if known { resource } else { resource.with_service_name(env!("CARGO_PKG_NAME")) };
    named.build()
}

/// How a batch reaches the collector.
#[derive(Debug)]
struct Client {
    address: Address,
    runtime: Handle,
    /// Whether the last one did not.
    fails: AtomicBool,
}

impl Client {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let address = self.address.clone();
        // The SDK's thread waits outside of the runtime, without which there are no sockets.
        let sent = self.runtime.spawn(async move {
            address.send(request.map(Full::new), OTLP_TIMEOUT, OTLP_ANSWER_BYTES_MAX).await
        });
        Ok(sent.await??.map(Bytes::from))
    }

    /// Says in the log when it begins to fail, and when it is over.
    fn note(&self, sent: &Result<Response<Bytes>, HttpError>) {
        let error = match sent {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("it answered {}", answer.status())),
            Err(error) => Some(error.to_string()),
        };
        match (error, self.fails.load(Ordering::Relaxed)) {
            (Some(error), false) => {
                tracing::warn!(collector = %self.address, error, "spans can't be sent");
                self.fails.store(true, Ordering::Relaxed);
            }
            (None, true) => {
                tracing::info!(collector = %self.address, "spans are sent again");
                self.fails.store(false, Ordering::Relaxed);
            }
            _ => {}
        }
    }
}

impl HttpClient for Client {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let sent = self.send(request).await;
            self.note(&sent);
            sent
        })
    }
}
