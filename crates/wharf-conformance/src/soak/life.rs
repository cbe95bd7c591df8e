//! One container's life, and what must be true of it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::speak::Speaker;
use crate::dice::Dice;

/// How a container spends its life.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Prints that many lines, and exits with that code.
    Counter,
    /// Waits until it is stopped.
    Sleeper,
    /// Removes itself.
    Fleeting,
    /// Fails, and is started again twice.
    Restarter,
}

const KINDS: [Kind; 8] = [
    Kind::Counter,
    Kind::Counter,
    Kind::Counter,
    Kind::Sleeper,
    Kind::Sleeper,
    Kind::Fleeting,
    Kind::Fleeting,
    Kind::Restarter,
];

/// How often a restarter is started again.
const RESTARTS: i64 = 2;

/// How long a new daemon may take to go on with the starts of the one before.
const TAKEN_UP: Duration = Duration::from_secs(5);

/// A limit for what never comes.
const PATIENCE: Duration = Duration::from_secs(180);

/// Lives the life of container `number`.
pub(super) fn live(speaker: &Speaker, number: u32, mut dice: Dice) -> Result<()> {
    let kind = dice.one_of(&KINDS);
    let lines = dice.below(300);
    let code = i64::from(dice.below(100));
    let life = Life {
        speaker,
        name: format!("soak-{number}"),
        kind,
        lines,
        code,
    };
    life.create(&mut dice)
        .and_then(|()| life.start())
        .and_then(|()| life.meddle(&mut dice))
        .and_then(|()| life.end(&mut dice))
        .with_context(|| format!("{kind:?}"))
}

struct Life<'a> {
    speaker: &'a Speaker,
    name: String,
    kind: Kind,
    lines: u32,
    code: i64,
}

impl Life<'_> {
    fn create(&self, dice: &mut Dice) -> Result<()> {
        let (lines, code) = (self.lines, self.code);
        let count = format!(
            "i=0; while [ $i -lt {lines} ]; do echo line $i; i=$((i+1)); done; exit {code}"
        );
        let script = match self.kind {
            Kind::Counter | Kind::Fleeting => count,
            Kind::Sleeper => "echo here; exec sleep 100000".to_owned(),
            Kind::Restarter => "echo again; exit 3".to_owned(),
        };
        let mut host = json!({
            "NetworkMode": dice.one_of(&["none", "none", "bridge", "soak"]),
            "AutoRemove": matches!(self.kind, Kind::Fleeting),
            "LogConfig": { "Type": dice.one_of(&["json-file", "local"]) },
        });
        if matches!(self.kind, Kind::Restarter) {
            host["RestartPolicy"] = json!({ "Name": "on-failure", "MaximumRetryCount": RESTARTS });
        }
        if dice.below(4) == 0 {
            host["Memory"] = json!(64 << 20);
        }
        let mut body = json!({
            "Image": "busybox", "Cmd": ["sh", "-c", script], "HostConfig": host,
        });
        if dice.below(4) == 0 {
            body["Volumes"] = json!({ "/anonymous": {} });
        }
        // The name may be taken already: by ourselves, when the answer was lost.
        let target = format!("/containers/create?name={}", self.name);
        self.speaker
            .expect("POST", &target, Some(&body), &[201, 409])?;
        Ok(())
    }

    /// Starts it once, and only once, also when the answer is lost: a second start would count a second time.
    fn start(&self) -> Result<()> {
        let target = format!("/containers/{}/start", self.name);
        let limit = Instant::now() + PATIENCE;
        loop {
            if let Some(answer) = self.speaker.try_once("POST", &target) {
                ensure!(
                    matches!(answer.status, 204 | 304),
                    "start: {} {}",
                    answer.status,
                    answer.text()
                );
                return Ok(());
            }
            if self.has_begun()? {
                return Ok(());
            }
            ensure!(Instant::now() < limit, "it cannot be started");
        }
    }

    /// Whether it has been started, though the answer was lost. A start whose record the daemon wrote before its
    /// death it takes up again by itself: asked for once more at that moment, it would be a second one.
    fn has_begun(&self) -> Result<bool> {
        let mut limit = None;
        loop {
            let Some(json) = self.inspect()? else {
                ensure!(matches!(self.kind, Kind::Fleeting), "it is gone");
                return Ok(true);
            };
            if json["State"]["Status"] != "created" {
                return Ok(true);
            }
            // From when there is a new daemon on: on a busy machine one takes its time to come.
            if Instant::now() > *limit.get_or_insert_with(|| Instant::now() + TAKEN_UP) {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn inspect(&self) -> Result<Option<Value>> {
        let target = format!("/containers/{}/json", self.name);
        let answer = self.speaker.expect("GET", &target, None, &[200, 404])?;
        Ok((answer.status == 200).then(|| answer.json()))
    }

    /// Does a few things to it that change nothing of its end.
    fn meddle(&self, dice: &mut Dice) -> Result<()> {
        for _ in 0..dice.below(4) {
            let name = &self.name;
            let post = |what: &str, body: Option<Value>| {
                self.speaker
                    .expect(
                        "POST",
                        &format!("/containers/{name}/{what}"),
                        body.as_ref(),
                        &[200, 201, 204, 304, 404, 409],
                    )
                    .map(drop)
            };
            let get = |what: &str| {
                self.speaker
                    .expect(
                        "GET",
                        &format!("/containers/{name}/{what}"),
                        None,
                        &[200, 404, 409],
                    )
                    .map(drop)
            };
            match dice.below(7) {
                0 => {
                    post("pause", None)?;
                    // One that ended meanwhile is not paused.
                    let target = format!("/containers/{}/unpause", self.name);
                    let statuses = [204, 404, 409, 500];
                    self.speaker.expect("POST", &target, None, &statuses)?;
                }
                1 => self.exec()?,
                2 => post("update", Some(json!({ "CpuShares": 512 })))?,
                3 => get("stats?stream=false&one-shot=true")?,
                4 => get("top")?,
                5 => get("archive?path=/etc/passwd")?,
                _ => get("logs?stdout=1&tail=5")?,
            }
        }
        Ok(())
    }

    /// A process beside the first one; it may come too late.
    fn exec(&self) -> Result<()> {
        let body = json!({ "Cmd": ["sh", "-c", "exit 7"] });
        let target = format!("/containers/{}/exec", self.name);
        let made = self
            .speaker
            .expect("POST", &target, Some(&body), &[201, 404, 409])?;
        if made.status != 201 {
            return Ok(());
        }
        let json = made.json();
        let id = json["Id"].as_str().context("no id of the exec")?;
        // An exec does not outlive its daemon's record of it: 404 after a death.
        self.speaker.expect(
            "POST",
            &format!("/exec/{id}/start"),
            Some(&json!({ "Detach": true })),
            &[200, 404, 409],
        )?;
        Ok(())
    }

    fn end(&self, dice: &mut Dice) -> Result<()> {
        match self.kind {
            Kind::Sleeper => {
                let ends = ["kill", "stop?t=0", "restart?t=0"];
                let end = dice.one_of(&ends);
                let statuses: &[u16] = &[204, 304, 409];
                if end.starts_with("restart") {
                    let target = format!("/containers/{}/{end}", self.name);
                    self.speaker.expect("POST", &target, None, statuses)?;
                }
                let target = format!("/containers/{}/kill", self.name);
                self.speaker.expect("POST", &target, None, statuses)?;
                self.ended(137, 0)?;
            }
            Kind::Counter => {
                self.ended(self.code, 0)?;
                let lines = (0..self.lines).map(|number| format!("line {number}"));
                self.logged(&lines.collect::<Vec<_>>())?;
            }
            Kind::Restarter => {
                self.ended(3, RESTARTS)?;
                self.logged(&vec!["again".to_owned(); 1 + RESTARTS as usize])?;
            }
            Kind::Fleeting => return self.gone(),
        }
        let target = format!("/containers/{}?v=1&force=1", self.name);
        self.speaker
            .expect("DELETE", &target, None, &[204, 404, 409])?;
        self.gone()
    }

    /// Waits until it has ended for good, with `code`, after `restarts`.
    fn ended(&self, code: i64, restarts: i64) -> Result<()> {
        let limit = Instant::now() + PATIENCE;
        loop {
            let json = self.inspect()?.context("it is gone")?;
            let state = &json["State"];
            if state["Status"] == "exited" && json["RestartCount"] == restarts {
                ensure!(
                    state["ExitCode"] == code,
                    "it ended with {}, not {code}",
                    state["ExitCode"]
                );
                return Ok(());
            }
            ensure!(
                Instant::now() < limit,
                "it does not end: {state}, restarts {}",
                json["RestartCount"]
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Its log holds these lines, each once, in this order.
    fn logged(&self, lines: &[String]) -> Result<()> {
        let target = format!("/containers/{}/logs?stdout=1&stderr=1", self.name);
        let answer = self.speaker.expect("GET", &target, None, &[200])?;
        let text = payload(&answer.body)?;
        let found: Vec<_> = text.lines().collect();
        let first = (0..found.len().max(lines.len()))
            .find(|&at| found.get(at).copied() != lines.get(at).map(String::as_str));
        ensure!(
            first.is_none(),
            "{} of {} lines are logged; the first that differs: {first:?}, {:?}",
            found.len(),
            lines.len(),
            first.and_then(|at| found.get(at))
        );
        Ok(())
    }

    fn gone(&self) -> Result<()> {
        let limit = Instant::now() + PATIENCE;
        while self.inspect()?.is_some() {
            ensure!(Instant::now() < limit, "it does not go");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// What the frames of a multiplexed stream hold.
fn payload(mut stream: &[u8]) -> Result<String> {
    let mut text = Vec::new();
    while let Some((head, rest)) = stream.split_at_checked(8) {
        let size = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
        text.extend_from_slice(rest.get(..size).context("a frame is cut")?);
        stream = &rest[size..];
    }
    ensure!(stream.is_empty(), "half a frame's head");
    Ok(String::from_utf8(text)?)
}
