//! Volumes of plugins: what a plugin in trouble, two askers at once and a kill may not do to them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use wharf_records::Db;
use wharf_volumes::{NewVolume, PluginFolders, VolumeError, Volumes};

/// A plugin that answers as it is told, in any number of threads.
struct Fake {
    root: tempfile::TempDir,
    calls: Arc<Calls>,
}

/// What it was asked: `METHOD NAME ID`.
#[derive(Default)]
struct Calls(Mutex<Vec<String>>, Condvar);

impl Calls {
    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    fn count(&self, start: &str) -> usize {
        let calls = self.0.lock().unwrap();
        calls.iter().filter(|call| call.starts_with(start)).count()
    }
}

impl Fake {
    /// `answer` is given the call in words, and what was asked before.
    fn start(answer: impl Fn(&str, &Calls) -> Option<Value> + Send + Sync + 'static) -> Self {
        let root = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(root.path().join("plug.sock")).unwrap();
        let (calls, answer) = (Arc::<Calls>::default(), Arc::new(answer));
        let told = calls.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (told, answer) = (told.clone(), answer.clone());
                std::thread::spawn(move || serve(stream, &told, &*answer));
            }
        });
        Self { root, calls }
    }

    fn open(&self) -> Volumes {
        let folders = PluginFolders {
            sockets: self.root.path().into(),
            specs: Vec::new(),
            patience: Duration::from_secs(1),
        };
        let db = Db::open(&self.root.path().join("wharf.db")).unwrap();
        Volumes::open_with(&self.root.path().join("volumes"), db, folders).unwrap()
    }
}

fn serve(mut stream: UnixStream, calls: &Calls, answer: &dyn Fn(&str, &Calls) -> Option<Value>) {
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    let whole = |request: &[u8]| {
        let text = String::from_utf8_lossy(request).into_owned();
        let (head, body) = text.split_once("\r\n\r\n")?;
        let length = head.split("Content-Length: ").nth(1)?.lines().next()?;
        (body.len() >= length.parse().unwrap()).then(|| (head.to_owned(), body.to_owned()))
    };
    let (head, body) = loop {
        if let Some(whole) = whole(&request) {
            break whole;
        }
        let read = stream.read(&mut chunk).unwrap();
        request.extend_from_slice(&chunk[..read]);
    };
    let method = head.split([' ', '.']).nth(2).unwrap_or_default().to_owned();
    let body: Value = serde_json::from_str(&body).unwrap();
    let word = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
    let call = format!("{method} {} {}", word("Name"), word("ID"));
    let call = call.trim_end().to_owned();
    calls.0.lock().unwrap().push(call.clone());
    calls.1.notify_all();
    let answered = match method.as_str() {
        "Activate" => answer(&call, calls).map(|_| json!({ "Implements": ["VolumeDriver"] })),
        "Capabilities" => Some(json!({})),
        _ => answer(&call, calls),
    };
    match answered {
        Some(answer) => {
            let answer = answer.to_string();
            write!(stream, "HTTP/1.0 200 OK\r\n\r\n{answer}").unwrap();
        }
        // It hangs for as long as somebody listens.
        None => drop(stream.read(&mut chunk)),
    }
}

fn new(name: &str, driver: &str) -> NewVolume {
    NewVolume {
        name: name.into(),
        driver: driver.into(),
        ..NewVolume::default()
    }
}

fn has(name: &str) -> Value {
    json!({ "Volume": { "Name": name, "Mountpoint": "/m" }, "Mountpoint": "/m" })
}

fn names(volumes: &Volumes) -> Vec<String> {
    let listed = volumes.list().volumes.into_iter();
    listed.map(|volume| volume.name.into()).collect()
}

#[test]
fn a_plugin_in_trouble_does_not_make_its_volume_a_local_one() {
    let trouble = Arc::new(Mutex::new(false));
    let fails = trouble.clone();
    let plugin = Fake::start(move |call, _| {
        let fails = *fails.lock().unwrap();
        Some(match call {
            "Get pv" if fails => json!({ "Err": "backend timed out" }),
            "Create pv" if fails => json!({ "Err": "still in trouble" }),
            "List" => json!({ "Volumes": [] }),
            _ => has("pv"),
        })
    });
    let volumes = plugin.open();
    let labels = Some([("l".to_owned(), "m".to_owned())].into());
    let labelled = NewVolume {
        labels: labels.clone(),
        ..new("pv", "plug")
    };
    volumes.create(labelled).unwrap();
    *trouble.lock().unwrap() = true;
    let words = "create pv: found references to volume 'pv' in driver 'plug' but the volume was not found in the driver -- you may need to remove containers referencing this volume or force remove the volume to re-create it: volume name must be unique";
    let refused = volumes.create(new("pv", "")).unwrap_err();
    assert_eq!(refused.to_string(), words);
    for driver in ["plug", "local", ""] {
        let used = volumes.create_beside(new("pv", driver), |_| vec!["c1".into()]);
        assert!(matches!(used, Err(VolumeError::Lost { .. })), "{driver}");
    }
    // Nobody uses it, and it is asked of the same driver: which cannot make it, and nothing is forgotten.
    let refused = volumes.create(new("pv", "plug")).unwrap_err();
    assert_eq!(refused.to_string(), "create pv: still in trouble");
    *trouble.lock().unwrap() = false;
    assert_eq!(volumes.get("pv").unwrap().labels, labels);
    assert!(!volumes.create(new("pv", "")).unwrap().fresh);
    // Who wants another driver gets it when the plugin has lost the volume for good.
    *trouble.lock().unwrap() = true;
    assert!(volumes.create(new("pv", "local")).unwrap().fresh);
    assert_eq!(volumes.driver_of("pv").unwrap(), "local");
}

#[test]
fn two_who_make_one_volume_make_it_once() {
    let is_made = Mutex::new(false);
    let plugin = Fake::start(move |call, calls| {
        let is_made = || is_made.lock().unwrap();
        Some(match call {
            "Create pv" if calls.count("Create pv") > 1 => json!({ "Err": "pv exists" }),
            "Create pv" => {
                // Time for another to come between, if it can.
                let calling = calls.0.lock().unwrap();
                let before = calling.len();
                let patience = Duration::from_millis(500);
                let none = |calls: &mut Vec<String>| calls.len() == before;
                drop(calls.1.wait_timeout_while(calling, patience, none).unwrap());
                *is_made() = true;
                json!({})
            }
            "Get pv" if !*is_made() => json!({ "Err": "no such volume" }),
            "Get pv" => has("pv"),
            _ => json!({ "Volumes": [] }),
        })
    });
    let volumes = plugin.open();
    let fresh: Vec<bool> = std::thread::scope(|scope| {
        let make = || volumes.create(new("pv", "plug")).unwrap().fresh;
        let makers = [0, 1].map(|_| scope.spawn(make));
        makers.map(|maker| maker.join().unwrap()).into()
    });
    assert_eq!(fresh.iter().filter(|fresh| **fresh).count(), 1);
    assert_eq!(plugin.calls.count("Create pv"), 1);
    assert_eq!(volumes.driver_of("pv").unwrap(), "plug");
}

#[test]
fn what_a_plugin_mounted_is_unmounted_after_a_kill() {
    let plugin = Fake::start(|call, _| {
        Some(match call {
            "List" => json!({ "Volumes": [] }),
            "Mount pv refused" => json!({ "Err": "not today" }),
            _ => has("pv"),
        })
    });
    let volumes = plugin.open();
    volumes.create(new("pv", "plug")).unwrap();
    for holder in ["lives", "ended", "again"] {
        volumes.mount("pv", holder).unwrap();
    }
    assert!(volumes.mount("pv", "refused").is_err());
    volumes.mount("pv", "over").unwrap();
    volumes.unmount("pv", "over").unwrap();
    let before = plugin.calls.count("Unmount");
    // A kill; and one of the containers is started again before the plugin is asked.
    let volumes = plugin.open();
    volumes.restore(&[("pv".into(), "lives".into())]).unwrap();
    volumes.mount("pv", "again").unwrap();
    volumes.remove_forsaken().unwrap();
    let calls = plugin.calls.all();
    let unmounts = calls.iter().filter(|call| call.starts_with("Unmount"));
    let unmounts: Vec<_> = unmounts.skip(before).collect();
    assert_eq!(unmounts, ["Unmount pv ended"]);
    // Once is enough.
    volumes.unmount("pv", "lives").unwrap();
    volumes.unmount("pv", "again").unwrap();
    let before = plugin.calls.count("Unmount");
    let volumes = plugin.open();
    volumes.restore(&[]).unwrap();
    volumes.remove_forsaken().unwrap();
    assert_eq!(plugin.calls.count("Unmount"), before);
}

#[test]
fn a_plugin_that_hangs_is_not_asked_for_every_list() {
    let plugin = Fake::start(|_, _| None);
    let volumes = plugin.open();
    volumes.create(new("own", "")).unwrap();
    let asked = plugin.calls.all().len();
    assert!(asked <= 1, "{:?}", plugin.calls.all());
    for _ in 0..3 {
        assert_eq!(names(&volumes), ["own"]);
        assert!(volumes.get("other").is_err());
    }
    assert_eq!(plugin.calls.all().len(), 1, "{:?}", plugin.calls.all());
}

#[test]
fn a_plugin_that_begins_to_hang_is_told_of() {
    let plugin = Fake::start(|call, calls| match call {
        "List" if calls.count("List") > 1 => None,
        "List" => Some(json!({ "Volumes": [] })),
        _ => Some(has("pv")),
    });
    let volumes = plugin.open();
    volumes.create(new("pv", "plug")).unwrap();
    assert!(volumes.list().warnings.is_empty());
    assert_eq!(volumes.list().warnings.len(), 1);
    let listed = volumes.list();
    assert_eq!(
        listed.warnings,
        ["list plug: plug did not answer a moment ago"]
    );
    // What is known of it is shown.
    assert_eq!(listed.volumes.len(), 1);
    assert_eq!(plugin.calls.count("List"), 2);
}
