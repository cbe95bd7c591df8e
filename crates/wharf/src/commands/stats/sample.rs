//! One sample, as numbers, and as the cells of a row.

use serde_json::Value;

use crate::format::json;
use crate::format::rows::{Row, short_id};
use crate::format::units::{binary_size, human_size};
use crate::row;

/// What is shown of a sample; nothing but zeros of a container that did not run.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sample {
    id: String,
    name: String,
    usage: Usage,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Usage {
    cpu: f64,
    memory: f64,
    limit: f64,
    received: f64,
    sent: f64,
    read: f64,
    written: f64,
    pids: u64,
}

fn number(document: &Value, path: &str) -> f64 {
    let found = document.pointer(path).and_then(Value::as_u64);
    found.unwrap_or_default() as f64
}

impl Sample {
    /// Reads a document of the stream, by the formulas of the API's description.
    pub(super) fn of(document: &Value) -> Self {
        Self {
            id: json::text(document, "id").to_owned(),
            name: json::text(document, "name")
                .trim_start_matches('/')
                .to_owned(),
            usage: Usage::of(document),
        }
    }
}

impl Usage {
    fn of(document: &Value) -> Self {
        let networks = document["networks"].as_object();
        let sum = |field: &str| {
            let interfaces = networks.into_iter().flatten();
            interfaces.map(|(_, one)| number(one, field)).sum()
        };
        let (mut read, mut written) = (0.0, 0.0);
        let entries = &document["blkio_stats"]["io_service_bytes_recursive"];
        for entry in entries.as_array().into_iter().flatten() {
            match json::text(entry, "op").bytes().next() {
                Some(b'r' | b'R') => read += number(entry, "/value"),
                Some(b'w' | b'W') => written += number(entry, "/value"),
                _ => {}
            }
        }
        Self {
            cpu: cpu(document),
            memory: memory(document),
            limit: number(document, "/memory_stats/limit"),
            received: sum("/rx_bytes"),
            sent: sum("/tx_bytes"),
            read,
            written,
            pids: number(document, "/pids_stats/current") as u64,
        }
    }
}

/// The share of one processor's time since the sample before, in percent.
fn cpu(document: &Value) -> f64 {
    let since = |path: &str| {
        number(document, &format!("/cpu_stats/{path}"))
            - number(document, &format!("/precpu_stats/{path}"))
    };
    let (own, whole) = (since("cpu_usage/total_usage"), since("system_cpu_usage"));
    let cpus = match number(document, "/cpu_stats/online_cpus") {
        0.0 => {
            let list = document["cpu_stats"]["cpu_usage"]["percpu_usage"].as_array();
            list.map_or(0, Vec::len) as f64
        }
        cpus => cpus,
    };
    match own > 0.0 && whole > 0.0 {
        true => own / whole * cpus * 100.0,
        false => 0.0,
    }
}

/// What is in use without the cache that could be given back at once.
fn memory(document: &Value) -> f64 {
    let usage = number(document, "/memory_stats/usage");
    let stats = &document["memory_stats"]["stats"];
    let cache = ["total_inactive_file", "inactive_file"]
        .iter()
        .find_map(|key| stats[*key].as_u64());
    match cache.map(|cache| cache as f64) {
        Some(cache) if cache < usage => usage - cache,
        _ => usage,
    }
}

/// The cells of a row; a row without a sample has dashes.
pub(super) fn row(container: &str, sample: Option<&Sample>, full: bool) -> Row {
    let usage = sample.map(|sample| &sample.usage);
    let none = Sample::default();
    let sample = sample.unwrap_or(&none);
    let cell =
        |show: &dyn Fn(&Usage) -> String, none: &str| usage.map_or_else(|| none.to_owned(), show);
    let pair = |show: fn(f64) -> String, a: f64, b: f64| format!("{} / {}", show(a), show(b));
    let binary: fn(f64) -> String = |bytes| binary_size(bytes as i64);
    let decimal: fn(f64) -> String = |bytes| human_size(bytes as i64, 3);
    let share = |usage: &Usage| match usage.limit {
        0.0 => 0.0,
        limit => usage.memory / limit * 100.0,
    };
    row! {
        "Container" => container,
        "ID" => if full { sample.id.as_str() } else { short_id(&sample.id) },
        "Name" => if sample.name.is_empty() { "--" } else { sample.name.as_str() },
        "CPUPerc" => cell(&|usage| format!("{:.2}%", usage.cpu), "--"),
        "MemUsage" => cell(&|usage| pair(binary, usage.memory, usage.limit), "-- / --"),
        "MemPerc" => cell(&|usage| format!("{:.2}%", share(usage)), "--"),
        "NetIO" => cell(&|usage| pair(decimal, usage.received, usage.sent), "--"),
        "BlockIO" => cell(&|usage| pair(decimal, usage.read, usage.written), "--"),
        "PIDs" => cell(&|usage| usage.pids.to_string(), "--"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn document() -> Value {
        json!({
            "id": "0123456789abcdef", "name": "/web", "read": "2026-01-01T00:00:00Z",
            "cpu_stats": {"cpu_usage": {"total_usage": 300}, "system_cpu_usage": 2000, "online_cpus": 4},
            "precpu_stats": {"cpu_usage": {"total_usage": 100}, "system_cpu_usage": 1000},
            "memory_stats": {"usage": 3 << 20, "limit": 8 << 20, "stats": {"inactive_file": 1 << 20}},
            "networks": {"eth0": {"rx_bytes": 1000, "tx_bytes": 10}, "eth1": {"rx_bytes": 500, "tx_bytes": 0}},
            "blkio_stats": {"io_service_bytes_recursive": [{"op": "Read", "value": 5}, {"op": "write", "value": 7000}, {"op": "Total", "value": 9}]},
            "pids_stats": {"current": 3}
        })
    }

    #[test]
    fn a_sample_becomes_cells() {
        let sample = Sample::of(&document());
        let row = row("web", Some(&sample), false);
        let cells = [
            "ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs",
        ];
        let cells = cells.map(|name| row[name].as_str().unwrap());
        let expected = [
            "0123456789ab",
            "web",
            "80.00%",
            "2MiB / 8MiB",
            "25.00%",
            "1.5kB / 10B",
            "5B / 7kB",
            "3",
        ];
        assert_eq!(cells, expected);
    }

    #[test]
    fn before_its_first_sample_a_row_has_dashes() {
        let waiting = row("web", None, false);
        assert_eq!(
            (waiting["Name"].as_str(), waiting["CPUPerc"].as_str()),
            (Some("--"), Some("--"))
        );
        assert_eq!(waiting["MemUsage"], "-- / --");
        let stopped = json!({"id": "0123456789abcdef", "name": "/web"});
        let stopped = row("web", Some(&Sample::of(&stopped)), true);
        assert_eq!(
            (stopped["ID"].as_str(), stopped["CPUPerc"].as_str()),
            (Some("0123456789abcdef"), Some("0.00%"))
        );
        assert_eq!(stopped["MemUsage"], "0B / 0B");
    }
}
