//! Volumes of plugins: what a plugin in trouble, two askers at once and a kill may not do to them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use wharf_records::Db;
use wharf_volumes::{NewVolume, PluginFolders, VolumeError, VolumeRemoval, Volumes};

/// A plugin that answers as it is told, in any number of threads: with a document, with a text that is not its own, or
/// not at all.
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
    let answered = answer(&call, calls).map(|answer| match method.as_str() {
        "Activate" => json!({ "Implements": ["VolumeDriver"] }),
        "Capabilities" => json!({}),
        _ => answer,
    });
    match answered {
        Some(Value::Array(failure)) => {
            let (status, text) = (&failure[0], &failure[1]);
            write!(stream, "HTTP/1.0 {status} Failed\r\n\r\n{text}").unwrap();
        }
        Some(Value::String(trouble)) => {
            write!(stream, "HTTP/1.0 503 Unavailable\r\n\r\n{trouble}").unwrap();
        }
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
fn a_plugin_that_fails_at_unknown_volumes_can_make_them() {
    let plugin = Fake::start(|call, calls| {
        Some(match call {
            "Get pv" if calls.count("Create pv") > 0 => has("pv"),
            "Get pv" | "Get other" => json!([500, { "Error": "resource not found" }]),
            "List" => json!({ "Volumes": [] }),
            _ => json!({ "Err": "" }),
        })
    });
    let volumes = plugin.open();
    volumes.create(new("pv", "plug")).unwrap();
    assert_eq!(plugin.calls.count("Create pv"), 1);
    // And those of others are none of its business.
    volumes.create(new("other", "local")).unwrap();
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

#[test]
fn a_plugin_that_does_not_answer_may_have_the_volume() {
    let trouble = Arc::new(Mutex::new(false));
    let fails = trouble.clone();
    let plugin = Fake::start(move |call, _| {
        let fails = *fails.lock().unwrap();
        Some(match call {
            _ if call.starts_with("Get") && fails => json!("no server is available"),
            "Get pv" => has("pv"),
            _ if call.starts_with("Get") => json!({ "Err": "no such volume" }),
            _ => json!({ "Volumes": [] }),
        })
    });
    let volumes = plugin.open();
    let is_told_so = |error: VolumeError| {
        let words = error.to_string();
        assert!(words.contains("no server is available"), "{words}");
    };
    volumes.create(new("pv", "plug")).unwrap();
    *trouble.lock().unwrap() = true;
    // Neither of one that is known, nor of one that may be.
    for (name, driver) in [("pv", "local"), ("pv", "plug"), ("pv", ""), ("other", "")] {
        is_told_so(volumes.create(new(name, driver)).unwrap_err());
    }
    is_told_so(volumes.create(new("other", "plug")).unwrap_err());
    assert_eq!(plugin.calls.count("Create other"), 0);
    for name in ["pv", "other"] {
        is_told_so(volumes.get(name).unwrap_err());
        for removal in [VolumeRemoval::Plain, VolumeRemoval::Forced] {
            is_told_so(
                volumes
                    .remove_as(removal, name, |_| Vec::new())
                    .unwrap_err(),
            );
        }
    }
    assert_eq!(volumes.driver_of("pv").unwrap(), "plug");
    // Who says which driver is served, and so is everybody when the plugin is not there any more.
    assert!(volumes.create(new("chosen", "local")).unwrap().fresh);
    std::fs::remove_file(plugin.root.path().join("plug.sock")).unwrap();
    assert!(volumes.create(new("other", "")).unwrap().fresh);
}

#[test]
fn what_a_plugin_does_not_remove_is_forgotten_by_force_alone() {
    let plugin = Fake::start(|call, _| {
        Some(match call {
            "Remove pv" => json!({ "Err": "in use by another host" }),
            "List" => json!({ "Volumes": [] }),
            _ => has("pv"),
        })
    });
    let volumes = plugin.open();
    volumes.create(new("pv", "plug")).unwrap();
    let remove = |removal, users: &[&str]| {
        let users = users.iter().map(ToString::to_string).collect();
        volumes.remove_as(removal, "pv", |_| users)
    };
    let refused = remove(VolumeRemoval::Plain, &[]).unwrap_err();
    assert_eq!(refused.to_string(), "remove pv: in use by another host");
    let used = remove(VolumeRemoval::Forced, &["c1"]);
    assert!(matches!(used, Err(VolumeError::InUse { .. })));
    assert_eq!(volumes.driver_of("pv").unwrap(), "plug");
    let refused = remove(VolumeRemoval::Forced, &[]).unwrap_err();
    assert_eq!(refused.to_string(), "remove pv: in use by another host");
    assert_eq!(volumes.driver_of("pv"), None);
    assert!(volumes.create(new("pv", "local")).unwrap().fresh);
}

#[test]
fn who_mounted_is_told_to_unmount_whatever_became_of_the_volume() {
    let plugin = Fake::start(|call, _| {
        Some(match call {
            "Remove pv" => json!({ "Err": "it is mounted" }),
            "List" => json!({ "Volumes": [] }),
            _ => has("pv"),
        })
    });
    let volumes = plugin.open();
    volumes.create(new("pv", "plug")).unwrap();
    volumes.mount("pv", "gone").unwrap();
    // A kill.
    let volumes = plugin.open();
    volumes.restore(&[]).unwrap();
    let forced = volumes.remove_as(VolumeRemoval::Forced, "pv", |_| Vec::new());
    assert!(forced.is_err());
    volumes.create(new("pv", "local")).unwrap();
    volumes.remove_forsaken().unwrap();
    assert_eq!(plugin.calls.count("Unmount pv gone"), 1);
}

#[test]
fn what_could_not_be_unmounted_is_held_still() {
    let plugin = Fake::start(|call, calls| {
        Some(match call {
            "Unmount pv c1" if calls.count("Unmount") == 1 => json!({ "Err": "busy" }),
            _ => has("pv"),
        })
    });
    let volumes = plugin.open();
    volumes.create(new("pv", "plug")).unwrap();
    volumes.mount("pv", "c1").unwrap();
    assert!(volumes.unmount("pv", "c1").is_err());
    volumes.unmount("pv", "c1").unwrap();
    assert_eq!(plugin.calls.count("Unmount"), 2);
    volumes.unmount("pv", "c1").unwrap();
    assert_eq!(plugin.calls.count("Unmount"), 2);
}

#[test]
fn all_that_a_plugin_is_asked_at_once_has_one_deadline() {
    let plugin = Fake::start(|call, _| match call {
        "Capabilities" => None,
        "List" => Some(json!({ "Volumes": [{ "Name": "late" }] })),
        _ => Some(json!({})),
    });
    let volumes = plugin.open();
    let listed = volumes.list();
    assert_eq!(
        listed.warnings,
        [
            "list plug: Post \"http://plugin.moby.localhost/VolumeDriver.List\": dial unix PLACE: connect: context deadline exceeded"
        ]
        .map(|words| words.replace("PLACE", &plugin.root.path().join("plug.sock").display().to_string()))
    );
}
