//! `wharf wait`, and the waiting half of `wharf run`.

use serde_json::Value;
use wharf_client::{BodyStream, Client, Method, Url};

use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::{each, line};
use crate::cli::{Arity, Command, Context, Exit, Matches, Outcome};
use crate::format::json;

/// Wait for containers
pub static COMMAND: Command = Command {
    name: "wait",
    about: "Wait until containers stop, then print their exit codes",
    usage: "CONTAINER [CONTAINER...]",
    also: "wharf container wait, wharf wait",
    arity: Arity::AtLeast(1),
    run: Some(|context, matches| Box::pin(run(context, matches))),
    ..EMPTY
};

async fn run(context: &Context, matches: &Matches) -> Outcome {
    let client = context.client().await?;
    each(&matches.args, |name| async move {
        line(
            Waiting::new(client, name, Condition::NotRunning)
                .await?
                .finish()
                .await?,
        )
    })
    .await
}

/// What to wait for.
#[derive(Debug, Clone, Copy)]
pub enum Condition {
    /// It does not run (now or at once).
    NotRunning,
    /// Its next exit.
    NextExit,
    /// Its removal.
    Removed,
}

/// A wait that the daemon has taken up: an exit from now on is not missed.
pub struct Waiting {
    answer: BodyStream,
}

impl Waiting {
    /// Begins to wait.
    pub async fn new(client: &Client, id: &str, condition: Condition) -> Outcome<Waiting> {
        let condition = match condition {
            Condition::NotRunning => None,
            Condition::NextExit => Some("next-exit"),
            Condition::Removed => Some("removed"),
        };
        let url = Url::new(["containers", id, "wait"]).maybe("condition", condition);
        Ok(Waiting {
            answer: client.stream(Method::POST, url, None::<&()>).await?,
        })
    }

    /// The exit code.
    pub async fn finish(mut self) -> Outcome<i32> {
        let Some(answer) = self.answer.next::<Value>().await? else {
            return Err(Exit::with_code(
                125,
                "the daemon ended while the container was waited for",
            ));
        };
        match json::field(&answer, "Error").map(|error| json::text(error, "Message")) {
            Some(error) if !error.is_empty() => Err(Exit::with_code(
                125,
                format!("Error waiting for container: {error}"),
            )),
            _ => Ok(json::int(&answer, "StatusCode") as i32),
        }
    }
}
