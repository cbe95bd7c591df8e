//! `wharf stats`.

mod sample;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use wharf_client::{Client, Method, Url};

use self::sample::Sample;
use super::{FORMAT_HELP, filters};
use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::out;
use crate::cli::{Arity, Command, Context, Exit, Flag, Matches, Outcome, switch, text};
use crate::format::json;
use crate::format::rows::{Headers, render, short_id};

/// How often the table is drawn again, as Docker's client does.
const PACE: Duration = Duration::from_millis(500);

static FLAGS: &[Flag] = &[
    switch("all", "Show stopped ones too").short('a'),
    text("format", FORMAT_HELP),
    switch("no-stream", "Show one sample and end"),
    switch("no-trunc", "Cut nothing off"),
];

/// Show what containers use
pub static COMMAND: Command = Command {
    name: "stats",
    about: "Show what containers use, as they use it",
    usage: "[OPTIONS] [CONTAINER...]",
    also: "wharf container stats, wharf stats",
    flags: &[FLAGS],
    arity: Arity::AtLeast(0),
    run: Some(|context, matches| Box::pin(run(context, matches))),
    ..EMPTY
};

const HEADERS: Headers = &[
    ("Container", "CONTAINER"),
    ("ID", "CONTAINER ID"),
    ("Name", "NAME"),
    ("CPUPerc", "CPU %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("MemPerc", "MEM %"),
    ("NetIO", "NET I/O"),
    ("BlockIO", "BLOCK I/O"),
    ("PIDs", "PIDS"),
];

const TABLE: &str = "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}";

/// The rows on the screen, in the order in which containers came.
#[derive(Default)]
struct Board {
    rows: Vec<(String, Option<Sample>)>,
    followers: BTreeMap<String, JoinHandle<()>>,
    failures: Vec<String>,
}

type Shared = Arc<Mutex<Board>>;

fn lock(board: &Shared) -> MutexGuard<'_, Board> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn run(context: &Context, matches: &Matches) -> Outcome {
    let client = Arc::clone(context.client().await?);
    let stream = !matches.on("no-stream");
    let format = context.format(matches.text("format"), "statsFormat", false);
    let board = Shared::default();
    // A change of the world (a container came or went) asks for a look at once.
    let (changed, mut news) = mpsc::unbounded_channel();
    let mut events = None;
    if matches.args.is_empty() {
        let all = matches.on("all");
        if stream {
            events = Some(follow_events(&client, &board, all, changed.clone()).await?);
        }
        for id in ids(&client, all).await? {
            follow(&client, &board, id, stream, &changed);
        }
    } else {
        for name in &matches.args {
            follow(&client, &board, name.clone(), stream, &changed);
        }
    }
    drop(changed);
    settle(&board, &mut news).await;
    let failures = std::mem::take(&mut lock(&board).failures);
    if !failures.is_empty() {
        return Err(Exit::new(failures.join("\n")));
    }
    let draw = || draw(&board, format, matches.on("no-trunc"));
    if !stream {
        return out(&draw()?);
    }
    let named = !matches.args.is_empty();
    let mut pace = tokio::time::interval(PACE);
    out("\x1b[2J\x1b[H")?;
    loop {
        pace.tick().await;
        let lines: String = draw()?
            .lines()
            .map(|line| format!("{line} \x1b[K\n"))
            .collect();
        out(&format!("\x1b[H{lines}\x1b[J"))?;
        // The daemon is gone: that is no failure, as with Docker's client.
        if events.as_ref().is_some_and(JoinHandle::is_finished) {
            return Ok(());
        }
        let board = lock(&board);
        // All that were asked for by name are gone.
        if named && board.followers.values().all(JoinHandle::is_finished) {
            return match board.failures.first() {
                Some(failure) => Err(Exit::new(failure.clone())),
                None => Ok(()),
            };
        }
    }
}

fn draw(board: &Shared, format: &str, full: bool) -> Result<String, String> {
    let board = lock(board);
    let rows = board.rows.iter();
    let rows = rows.map(|(name, sample)| sample::row(name, sample.as_ref(), full));
    render(format, TABLE, HEADERS, rows.collect())
}

/// Waits until every row has its first sample, or has failed.
async fn settle(board: &Shared, news: &mut mpsc::UnboundedReceiver<()>) {
    let ready = || {
        let board = lock(board);
        let waits = |(name, sample): &(String, Option<Sample>)| {
            let ended = board
                .followers
                .get(name)
                .is_none_or(JoinHandle::is_finished);
            sample.is_none() && !ended
        };
        !board.rows.iter().any(waits)
    };
    while !ready() {
        if news.recv().await.is_none() {
            return;
        }
    }
}

async fn ids(client: &Client, all: bool) -> Result<Vec<String>, wharf_client::Error> {
    let url = Url::new(["containers", "json"]).flag("all", all);
    let list: Vec<Value> = client.get(url).await?;
    let id = |container: &Value| short_id(json::text(container, "Id")).to_owned();
    Ok(list.iter().map(id).collect())
}

/// Follows one container until it ends or the daemon does.
fn follow(
    client: &Arc<Client>,
    board: &Shared,
    name: String,
    stream: bool,
    changed: &mpsc::UnboundedSender<()>,
) {
    let mut locked = lock(board);
    if locked.rows.iter().any(|(known, _)| *known == name) {
        return;
    }
    locked.rows.push((name.clone(), None));
    let (client, board, changed) = (client.clone(), board.clone(), changed.clone());
    let key = name.clone();
    let task = async move {
        if let Err(error) = samples(&client, &board, &name, stream, &changed).await {
            let mut board = lock(&board);
            board.rows.retain(|(known, _)| *known != name);
            board.failures.push(error.to_string());
        }
        // The last word: whoever waits looks again when this end of the channel closes, too.
        let _ = changed.send(());
    };
    locked.followers.insert(key, tokio::spawn(task));
}

async fn samples(
    client: &Client,
    board: &Shared,
    name: &str,
    stream: bool,
    changed: &mpsc::UnboundedSender<()>,
) -> Result<(), wharf_client::Error> {
    let url = Url::new(["containers", name, "stats"]);
    let url = match stream {
        true => url.with("stream", 1),
        false => url.with("stream", 0),
    };
    let mut documents = client.stream(Method::GET, url, None::<&()>).await?;
    while let Some(document) = documents.next::<Value>().await? {
        let sample = Sample::of(&document);
        if let Some((_, row)) = lock(board).rows.iter_mut().find(|(known, _)| known == name) {
            *row = Some(sample);
        }
        let _ = changed.send(());
    }
    if stream {
        // It was removed.
        lock(board).rows.retain(|(known, _)| known != name);
    }
    Ok(())
}

/// Rows come and go with the containers; what is given ends with the stream of events, as the daemon does.
async fn follow_events(
    client: &Arc<Client>,
    board: &Shared,
    all: bool,
    changed: mpsc::UnboundedSender<()>,
) -> Outcome<JoinHandle<()>> {
    let url = Url::new(["events"]).maybe("filters", filters(&["type=container".to_owned()]));
    let mut events = client.stream(Method::GET, url, None::<&()>).await?;
    let (client, board) = (client.clone(), board.clone());
    Ok(tokio::spawn(async move {
        while let Ok(Some(event)) = events.next::<Value>().await {
            let id = short_id(json::text(&event["Actor"], "ID")).to_owned();
            match json::text(&event, "Action") {
                "create" if all => follow(&client, &board, id, true, &changed),
                "start" => follow(&client, &board, id, true, &changed),
                "die" if !all => forget(&board, &id),
                "destroy" => forget(&board, &id),
                _ => {}
            }
        }
    }))
}

fn forget(board: &Shared, id: &str) {
    let mut board = lock(board);
    board.rows.retain(|(known, _)| known != id);
    if let Some(task) = board.followers.remove(id) {
        task.abort();
    }
}
