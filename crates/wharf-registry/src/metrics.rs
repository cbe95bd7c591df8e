//! Numbers for Prometheus.

use std::fmt::Write as _;
use std::time::Duration;

use http::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::store::Collected;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    method: &'static str,
    handler: &'static str,
    code: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Handler {
    handler: &'static str,
}

/// All numbers.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    seconds: Family<Handler, Histogram>,
    sent: Counter,
    received: Counter,
    collections: Counter,
    collected: Counter,
    last_collection: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Metrics {
        let mut registry = Registry::with_prefix("registry");
        let seconds = || Histogram::new(exponential_buckets(0.0005, 4.0, 10));
        let metrics = Metrics {
            requests: Family::default(),
            seconds: Family::new_with_constructor(seconds as fn() -> Histogram),
            sent: Counter::default(),
            received: Counter::default(),
            collections: Counter::default(),
            collected: Counter::default(),
            last_collection: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register(
            "http_requests",
            "Requests by method, handler and status",
            metrics.requests.clone(),
        );
        registry.register_with_unit(
            "http_request_duration",
            "Time to the head of the answer",
            Unit::Seconds,
            metrics.seconds.clone(),
        );
        registry.register_with_unit(
            "blobs_sent",
            "Bytes of blobs that went out",
            Unit::Bytes,
            metrics.sent.clone(),
        );
        registry.register_with_unit(
            "blobs_received",
            "Bytes of blobs that came in",
            Unit::Bytes,
            metrics.received.clone(),
        );
        registry.register(
            "collections",
            "Garbage collections",
            metrics.collections.clone(),
        );
        registry.register_with_unit(
            "collected",
            "Bytes that collections freed",
            Unit::Bytes,
            metrics.collected.clone(),
        );
        registry.register_with_unit(
            "last_collection_timestamp",
            "When the last garbage collection ended",
            Unit::Seconds,
            metrics.last_collection.clone(),
        );
        Metrics {
            registry,
            ..metrics
        }
    }

    pub(crate) fn request(
        &self,
        method: &Method,
        handler: &'static str,
        status: StatusCode,
        took: Duration,
    ) {
        let method = match method.as_str() {
            "GET" => "get",
            "HEAD" => "head",
            "PUT" => "put",
            "POST" => "post",
            "PATCH" => "patch",
            "DELETE" => "delete",
            _ => "other",
        };
        let code = status.as_u16().into();
        self.requests
            .get_or_create(&Request {
                method,
                handler,
                code,
            })
            .inc();
        self.seconds
            .get_or_create(&Handler { handler })
            .observe(took.as_secs_f64());
    }

    pub(crate) fn sent(&self, bytes: u64) {
        self.sent.inc_by(bytes);
    }

    pub(crate) fn received(&self, bytes: u64) {
        self.received.inc_by(bytes);
    }

    pub(crate) fn collected(&self, collected: &Collected) {
        self.collections.inc();
        self.collected.inc_by(collected.bytes);
        self.last_collection.set(jiff::Timestamp::now().as_second());
    }

    /// The page that Prometheus reads.
    pub(crate) fn page(&self) -> String {
        let mut page = String::new();
        if encode(&mut page, &self.registry).is_err() {
            let _ = page.write_str("# EOF\n");
        }
        page
    }
}
