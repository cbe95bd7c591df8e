//! `wharf update`.

use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use wharf_client::{Method, Url};

use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::{each, line};
use crate::cli::{Arity, Command, Context, Exit, Flag, Kind, Matches, Outcome, flag, text};
use crate::format::json;
use crate::options::Fields;
use crate::options::container::restart_policy;

static FLAGS: &[Flag] = &[
    flag(
        "blkio-weight",
        Kind::Uint(16),
        "Weight of block I/O, 10 to 1000, or 0 for none",
    ),
    flag(
        "cpu-period",
        Kind::Int,
        "Period of the processor quota in microseconds",
    ),
    flag(
        "cpu-quota",
        Kind::Int,
        "Processor time per period in microseconds",
    ),
    flag(
        "cpu-rt-period",
        Kind::Int,
        "Period of the real-time quota in microseconds",
    ),
    flag(
        "cpu-rt-runtime",
        Kind::Int,
        "Real-time per period in microseconds",
    ),
    flag("cpu-shares", Kind::Int, "Weight against other containers").short('c'),
    flag("cpus", Kind::Decimal, "Number of processors"),
    text("cpuset-cpus", "Processors to run on (0-3, 0,1)"),
    text("cpuset-mems", "Memory nodes to use (0-3, 0,1)"),
    flag("memory", Kind::Bytes, "Limit of memory").short('m'),
    flag("memory-reservation", Kind::Bytes, "Soft limit of memory"),
    flag(
        "memory-swap",
        Kind::Swap,
        "Limit of memory and swap together: -1 for no limit of swap",
    ),
    flag(
        "pids-limit",
        Kind::Int,
        "Number of processes: -1 for no limit",
    ),
    text("restart", "What to do when it exits"),
];

/// Change what containers may use
pub static COMMAND: Command = Command {
    name: "update",
    about: "Change limits and restart policies of containers",
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    also: "wharf container update, wharf update",
    flags: &[FLAGS],
    arity: Arity::AtLeast(1),
    run: Some(|context, matches| Box::pin(run(context, matches))),
    ..EMPTY
};

async fn run(context: &Context, matches: &Matches) -> Outcome {
    if !FLAGS.iter().any(|flag| matches.given(flag.long)) {
        return Err(Exit::new(
            "you must provide one or more flags when using this command",
        ));
    }
    let body = Value::Object(body(matches)?.0);
    let client = context.client().await?;
    let warnings = Mutex::new(Vec::new());
    let done = each(&matches.args, |name| {
        let (body, warnings) = (&body, &warnings);
        async move {
            let url = Url::new(["containers", name, "update"]);
            let answer: Value = client.json(Method::POST, url, Some(body)).await?;
            let new = json::texts(&answer, "Warnings");
            let new = new.iter().map(|text| (*text).to_string());
            let mut warnings = warnings.lock().unwrap_or_else(PoisonError::into_inner);
            warnings.extend(new);
            line(name)
        }
    })
    .await;
    // Behind all names, on the same stream, as Docker's client has it.
    for warning in warnings
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
    {
        line(warning)?;
    }
    done
}

fn body(matches: &Matches) -> Result<Fields, String> {
    let mut body = Fields::new();
    for (field, flag) in [
        ("BlkioWeight", "blkio-weight"),
        ("CpuPeriod", "cpu-period"),
        ("CpuQuota", "cpu-quota"),
        ("CpuRealtimePeriod", "cpu-rt-period"),
        ("CpuRealtimeRuntime", "cpu-rt-runtime"),
        ("CpuShares", "cpu-shares"),
        ("NanoCpus", "cpus"),
        ("Memory", "memory"),
        ("MemoryReservation", "memory-reservation"),
        ("MemorySwap", "memory-swap"),
    ] {
        body.int(field, matches.int(flag));
    }
    body.text("CpusetCpus", matches.text("cpuset-cpus"));
    body.text("CpusetMems", matches.text("cpuset-mems"));
    if matches.given("pids-limit") {
        body.set("PidsLimit", matches.int("pids-limit"));
    }
    if matches.given("restart") {
        body.set("RestartPolicy", restart_policy(matches.text("restart"))?);
    }
    Ok(body)
}
