//! A bus with a firewalld, as far as networks ask it, that can be slow, old or stubborn.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

/// What it is like, and what has been asked of it.
#[derive(Default)]
pub struct State {
    /// It knows no policies, as before 0.9.
    pub old: bool,
    /// It never shows what is made in its settings.
    pub stubborn: bool,
    /// What it does not answer until this is taken away.
    pub held: Option<&'static str>,
    /// Methods that it was asked for, in order.
    pub calls: Vec<String>,
    /// Links in the zone.
    pub zone: BTreeSet<String>,
    /// In its settings.
    pub made: BTreeSet<String>,
    /// Of these, what it has read.
    pub read: BTreeSet<String>,
    /// Who is told of a reload.
    pub listeners: Vec<UnixStream>,
}

#[derive(Clone)]
pub struct Bus(Arc<(Mutex<State>, Condvar)>);

impl Bus {
    /// Listens at `socket` for the rest of the test.
    pub fn start(socket: &Path, state: State) -> Self {
        let bus = Self(Arc::new((Mutex::new(state), Condvar::new())));
        let listener = UnixListener::bind(socket).unwrap();
        let served = bus.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let bus = served.clone();
                thread::spawn(move || bus.serve(client.unwrap()));
            }
        });
        bus
    }

    /// Waits until `holds`, and looks.
    pub fn wait(&self, mut holds: impl FnMut(&State) -> bool) -> MutexGuard<'_, State> {
        let (state, changed) = &*self.0;
        let state = state.lock().unwrap();
        changed.wait_while(state, |state| !holds(state)).unwrap()
    }

    /// Waits until it has been asked so often, and looks.
    pub fn asked(&self, member: &str, times: usize) -> MutexGuard<'_, State> {
        self.wait(|state| state.count(member) >= times)
    }

    /// Answers everything from now on.
    pub fn release(&self) {
        self.0.0.lock().unwrap().held = None;
        self.0.1.notify_all();
    }

    /// Until the client goes.
    fn serve(&self, mut client: UnixStream) -> Option<()> {
        let mut said = Vec::new();
        while !said.ends_with(b"BEGIN\r\n") {
            let mut byte = [0];
            client.read_exact(&mut byte).ok()?;
            said.push(byte[0]);
        }
        client.write_all(b"OK 00\r\n").ok()?;
        loop {
            let call = Call::read(&mut client)?;
            self.0.0.lock().unwrap().calls.push(call.member.clone());
            self.0.1.notify_all();
            let mut state = self.wait(|state| state.held != Some(&*call.member));
            let reply = state.answer(&call, &client);
            client.write_all(&reply.bytes(call.serial)).ok()?;
            drop(state);
            self.0.1.notify_all();
        }
    }
}

impl State {
    pub fn count(&self, member: &str) -> usize {
        self.calls.iter().filter(|one| *one == member).count()
    }

    fn answer(&mut self, call: &Call, client: &UnixStream) -> Reply {
        let link = || call.texts[1].clone();
        match &*call.member {
            // One connection listens for two signals.
            "AddMatch" if call.texts[0].contains("Reloaded") => {
                self.listeners.push(client.try_clone().unwrap());
            }
            "NameHasOwner" => return Reply::Yes(true),
            "getPolicies" if self.old => return Reply::Refused("UnknownMethod"),
            "addPolicy" if self.old => return Reply::Refused("UnknownMethod"),
            "getZones" | "getPolicies" => return Reply::Texts(self.read.clone()),
            "addZone2" | "addPolicy" => {
                return match self.made.insert(call.texts[0].clone()) {
                    true => Reply::Nothing,
                    false => Reply::Refused("NAME_CONFLICT"),
                };
            }
            "reload" => self.reload(),
            "queryInterface" => return Reply::Yes(self.zone.contains(&link())),
            "addInterface" => drop(self.zone.insert(link())),
            "removeInterface" => drop(self.zone.remove(&link())),
            _ => {}
        }
        Reply::Nothing
    }

    fn reload(&mut self) {
        if !self.stubborn {
            self.read.clone_from(&self.made);
        }
        let mut fields = Bytes::default();
        for (code, text) in [(1, "/x"), (2, "x.x"), (3, "Reloaded")] {
            fields
                .field(code, if code == 1 { "o" } else { "s" })
                .text(text);
        }
        for listener in &mut self.listeners {
            listener.write_all(&fields.message(4, &[])).unwrap();
        }
    }
}

/// What is asked.
struct Call {
    serial: u32,
    member: String,
    /// The texts that it begins with.
    texts: Vec<String>,
}

impl Call {
    fn read(from: &mut UnixStream) -> Option<Self> {
        let mut head = [0; 16];
        from.read_exact(&mut head).ok()?;
        let number = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap());
        let mut fields = vec![0; number(12).next_multiple_of(8) as usize];
        from.read_exact(&mut fields).ok()?;
        let mut body = vec![0; number(4) as usize];
        from.read_exact(&mut body).ok()?;
        // Field 3, of type `s`.
        let at = fields.windows(4).position(|one| one == [3, 1, b's', 0]);
        Some(Self {
            serial: number(8),
            member: texts(&fields[at? + 4..]).remove(0),
            texts: texts(&body),
        })
    }
}

/// As many texts as there are at the beginning.
fn texts(mut bytes: &[u8]) -> Vec<String> {
    let mut all = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let length = u32::from_le_bytes(*length) as usize;
        let Some(text) = rest.get(..length).map(<[u8]>::to_vec) else {
            break;
        };
        let Ok(text) = String::from_utf8(text) else {
            break;
        };
        all.push(text);
        bytes = bytes
            .get((4 + length + 1).next_multiple_of(4)..)
            .unwrap_or_default();
    }
    all
}

enum Reply {
    Nothing,
    Yes(bool),
    Texts(BTreeSet<String>),
    Refused(&'static str),
}

impl Reply {
    fn bytes(self, serial: u32) -> Vec<u8> {
        let mut body = Bytes::default();
        let kind = match self {
            Self::Refused(_) => 3,
            _ => 2,
        };
        let signature = match self {
            Self::Nothing => "",
            Self::Yes(yes) => {
                body.number(yes.into());
                "b"
            }
            Self::Texts(all) => {
                let mut inner = Bytes::default();
                all.iter().for_each(|text| inner.text(text));
                body.number(inner.0.len() as u32);
                body.0.extend(inner.0);
                "as"
            }
            Self::Refused(text) => {
                body.text(text);
                "s"
            }
        };
        let mut fields = Bytes::default();
        fields.field(5, "u").number(serial);
        if kind == 3 {
            fields.field(4, "s").text("org.test.Error");
        }
        fields.field(8, "g").signature(signature);
        fields.message(kind, &body.0)
    }
}

#[derive(Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn number(&mut self, number: u32) {
        self.align(4);
        self.0.extend(number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u32);
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    fn signature(&mut self, text: &str) {
        self.0.push(text.len() as u8);
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    fn field(&mut self, code: u8, kind: &str) -> &mut Self {
        self.align(8);
        self.0.push(code);
        self.signature(kind);
        self
    }

    /// A message with these fields.
    fn message(&self, kind: u8, body: &[u8]) -> Vec<u8> {
        let mut message = Self(vec![b'l', kind, 0, 1]);
        message.number(body.len() as u32);
        message.number(1);
        message.number(self.0.len() as u32);
        message.0.extend(&self.0);
        message.align(8);
        message.0.extend(body);
        message.0
    }
}
