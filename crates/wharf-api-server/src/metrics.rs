//! `metrics-addr`: facts in Prometheus' text format, under dockerd's names.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use wharf_engine::{Engine, InfoFacts};

use crate::error::ApiError;
use crate::routes::State;

/// The one route.
pub(crate) fn routes(engine: Arc<Engine>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .with_state(engine)
}

async fn metrics(engine: State) -> Result<Response, ApiError> {
    let facts = engine.info().await?;
    let text = render(
        &facts,
        engine.events.published(),
        engine.version().git_commit,
    );
    let format = "text/plain; version=0.0.4; charset=utf-8";
    Ok(([(http::header::CONTENT_TYPE, format)], text).into_response())
}

fn render(facts: &InfoFacts, events: u64, commit: String) -> String {
    let mut text = String::new();
    let mut family = |name: &str, help: &str, kind: &str, samples: &[(String, String)]| {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(text, "{name}{labels} {value}");
        }
    };
    let one = |value: &dyn std::fmt::Display| [(String::new(), value.to_string())];
    let states = [
        ("paused", facts.paused),
        ("running", facts.running),
        ("stopped", facts.stopped),
    ];
    let states = states.map(|(state, count)| (format!("{{state=\"{state}\"}}"), count.to_string()));
    family(
        "engine_daemon_container_states_containers",
        "The count of containers in various states",
        "gauge",
        &states,
    );
    family(
        "engine_daemon_engine_cpus_cpus",
        "The number of cpus that the host system of the engine has",
        "gauge",
        &one(&facts.cpus),
    );
    family(
        "engine_daemon_engine_memory_bytes",
        "The number of bytes of memory that the host system of the engine has",
        "gauge",
        &one(&facts.memory),
    );
    let labels = [
        ("architecture", facts.architecture.as_str()),
        ("commit", &commit),
        ("daemon_id", &facts.id),
        ("graphdriver", &facts.storage_driver),
        ("kernel", &facts.kernel_version),
        ("os", &facts.operating_system),
        ("os_type", &facts.os_type),
        ("os_version", &facts.os_version),
        ("version", env!("CARGO_PKG_VERSION")),
    ];
    let labels = labels
        .map(|(name, value)| format!("{name}={value:?}"))
        .join(",");
    family(
        "engine_daemon_engine_info",
        "The information related to the engine and the OS it is running on",
        "gauge",
        &[(format!("{{{labels}}}"), "1".to_owned())],
    );
    family(
        "engine_daemon_events_total",
        "The number of events logged",
        "counter",
        &one(&events),
    );
    family(
        "engine_daemon_events_subscribers_total",
        "The number of current subscribers to events",
        "gauge",
        &one(&facts.event_listeners),
    );
    family(
        "process_open_fds",
        "Number of open file descriptors",
        "gauge",
        &one(&facts.fds),
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_has_its_family() {
        let facts = InfoFacts {
            running: 3,
            operating_system: "Debian \"12\"".to_owned(),
            ..InfoFacts::default()
        };
        let text = render(&facts, 7, String::new());
        assert!(
            text.contains("\nengine_daemon_container_states_containers{state=\"running\"} 3\n")
        );
        assert!(text.contains("os=\"Debian \\\"12\\\"\""));
        assert!(
            text.contains(
                "# TYPE engine_daemon_events_total counter\nengine_daemon_events_total 7\n"
            )
        );
    }
}
