//! A bucket of an object store that speaks S3, in docker-registry's layout: what would be a file's path is an object's key.
//!
//! An object appears as a whole, and everybody sees it from then on, so content becomes visible in the same order as in a folder.
//! rusty-s3 signs the requests, hyper sends them. Synchronous like the store, for threads of a runtime that may block.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, ETAG, LAST_MODIFIED, RANGE};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rusty_s3::actions::{
    CompleteMultipartUploadResponse, CreateMultipartUpload, ListObjectsV2, ListObjectsV2Response,
};
use rusty_s3::{Credentials, S3Action};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::directory::Entry;
use crate::Error;
use crate::error::io_at;

/// How long a signature of ours is good: for a request, and for a client that is sent to an object (docker-registry's).
const SIGNED: Duration = Duration::from_secs(3600);
const SIGNED_FOR_CLIENTS: Duration = Duration::from_secs(20 * 60);
/// How long an answer may take; a part of a large object has all of it to go out.
const PATIENCE: Duration = Duration::from_secs(300);
const CONNECT: Duration = Duration::from_secs(10);
/// How often a request is sent whose answer is that of an overloaded or broken server, or none; and the time before the
/// second one, which doubles.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);
/// What is not a blob has so many bytes at most.
const MAX_ANSWER: usize = 16 << 20;
/// Parts of one object (S3's limit).
const MAX_PARTS: u64 = 10_000;
/// Pieces of an object that wait for a client.
const AHEAD: usize = 16;

type Http = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Which bucket, and how it is reached.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) bucket: rusty_s3::Bucket,
    pub(crate) credentials: Credentials,
    /// What all keys begin with: empty, or with a `/` at its end.
    pub(crate) root: String,
    /// Bytes of a part of a large object.
    pub(crate) part: u64,
    /// Whether clients are sent to the object store for blobs.
    pub(crate) redirects: bool,
}

/// A bucket.
#[derive(Debug)]
pub(super) struct Bucket {
    settings: Settings,
    http: Http,
    runtime: Handle,
}

/// What came back.
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Bucket {
    /// # Errors
    /// If the bucket does not answer, or not to us.
    pub(super) fn open(settings: Settings) -> Result<Bucket, Error> {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_nodelay(true);
        connector.enforce_http(false);
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(crate::tls::client()?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .build(connector);
        let bucket = Bucket {
            settings,
            http,
            runtime: Handle::current(),
        };
        bucket.list("")?;
        Ok(bucket)
    }

    fn object(&self, key: &str) -> String {
        format!("{}{key}", self.settings.root)
    }

    /// Adds what was done to which object.
    fn at(&self, operation: &'static str, key: &str) -> impl FnOnce(io::Error) -> Error + use<> {
        let object = self.object(key);
        let path = format!("s3://{}/{object}", self.settings.bucket.name());
        move |source| Error::Io {
            operation,
            path: path.into(),
            source,
        }
    }

    fn credentials(&self) -> Option<&Credentials> {
        Some(&self.settings.credentials)
    }

    /// Sends a request, again if the server was not to be had, and waits for the whole answer.
    fn send(&self, method: &Method, url: &url::Url, body: &Bytes) -> io::Result<Reply> {
        self.runtime.block_on(async {
            let mut attempt = 0;
            loop {
                attempt += 1;
                let reply = reply(&self.http, method, url, body.clone()).await;
                let is_final = match &reply {
                    Ok(reply) => {
                        !reply.status.is_server_error()
                            && reply.status != StatusCode::TOO_MANY_REQUESTS
                    }
                    Err(_) => false,
                };
                if is_final || attempt == ATTEMPTS {
                    return reply;
                }
                tokio::time::sleep(PAUSE * 2u32.pow(attempt - 1)).await;
            }
        })
    }

    fn act<'a>(&self, action: &impl S3Action<'a>, method: &Method) -> io::Result<Reply> {
        self.act_with(action, method, &Bytes::new())
    }

    fn act_with<'a>(
        &self,
        action: &impl S3Action<'a>,
        method: &Method,
        body: &Bytes,
    ) -> io::Result<Reply> {
        self.send(method, &action.sign(SIGNED), body)
    }

    pub(super) fn read(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        let object = self.object(key);
        let action = self.settings.bucket.get_object(self.credentials(), &object);
        let read = self.act(&action, &Method::GET).and_then(Reply::found);
        let reply = read.map_err(self.at("read", key))?;
        Ok(reply.map(|reply| reply.body.to_vec()))
    }

    pub(super) fn stat(&self, key: &str) -> Result<Option<(u64, SystemTime)>, Error> {
        let object = self.object(key);
        let action = self
            .settings
            .bucket
            .head_object(self.credentials(), &object);
        let looked = self.act(&action, &Method::HEAD).and_then(Reply::found);
        let stat = looked.and_then(|reply| reply.map(|reply| reply.stat()).transpose());
        stat.map_err(self.at("look at", key))
    }

    /// An object that can be read later; `None` if there is none.
    pub(super) fn open_object(&self, key: &str) -> Result<Option<Object>, Error> {
        let Some((size, _)) = self.stat(key)? else {
            return Ok(None);
        };
        let object = self.object(key);
        let action = self.settings.bucket.get_object(self.credentials(), &object);
        Ok(Some(Object {
            url: action.sign(SIGNED_FOR_CLIENTS),
            size,
            redirects: self.settings.redirects,
            http: self.http.clone(),
        }))
    }

    pub(super) fn put(&self, key: &str, bytes: &[u8]) -> Result<(), Error> {
        self.put_bytes(key, &Bytes::copy_from_slice(bytes))
            .map_err(self.at("write", key))
    }

    fn put_bytes(&self, key: &str, bytes: &Bytes) -> io::Result<()> {
        let object = self.object(key);
        let action = self.settings.bucket.put_object(self.credentials(), &object);
        self.act_with(&action, &Method::PUT, bytes)?.done()?;
        Ok(())
    }

    /// Puts a file in place: at once if it is small, or else in parts, of which nothing is to be seen before the last.
    pub(super) fn place(&self, from: &Path, key: &str) -> Result<(), Error> {
        let mut file = File::open(from).map_err(io_at("open", from))?;
        let size = file.metadata().map_err(io_at("look at", from))?.len();
        let part = self.settings.part.max(size.div_ceil(MAX_PARTS));
        let placed = match size <= part {
            true => next_part(&mut file, part).and_then(|bytes| self.put_bytes(key, &bytes)),
            false => self.place_parts(&mut file, part, key),
        };
        placed.map_err(self.at("write", key))
    }

    fn place_parts(&self, file: &mut File, part: u64, key: &str) -> io::Result<()> {
        let (bucket, object) = (&self.settings.bucket, self.object(key));
        let begun = self
            .act(
                &bucket.create_multipart_upload(self.credentials(), &object),
                &Method::POST,
            )?
            .done()?;
        let begun =
            CreateMultipartUpload::parse_response(&begun.text()).map_err(io::Error::other)?;
        let id = begun.upload_id();
        let placed = self.send_parts(file, part, &object, id);
        if placed.is_err() {
            // What is left of it goes by the bucket's own rules, if not now.
            let given_up = bucket.abort_multipart_upload(self.credentials(), &object, id);
            let _ = self.act(&given_up, &Method::DELETE);
        }
        placed
    }

    fn send_parts(&self, file: &mut File, part: u64, object: &str, id: &str) -> io::Result<()> {
        let bucket = &self.settings.bucket;
        let mut tags: Vec<String> = Vec::new();
        loop {
            let bytes = next_part(file, part)?;
            if bytes.is_empty() {
                break;
            }
            let number = u16::try_from(tags.len() + 1).map_err(io::Error::other)?;
            let action = bucket.upload_part(self.credentials(), object, number, id);
            let reply = self.act_with(&action, &Method::PUT, &bytes)?.done()?;
            let tag = reply.headers.get(ETAG).and_then(|tag| tag.to_str().ok());
            tags.push(
                tag.ok_or_else(|| io::Error::other("a part without an ETag"))?
                    .to_owned(),
            );
        }
        let tags = tags.iter().map(String::as_str);
        let action = bucket.complete_multipart_upload(self.credentials(), object, id, tags);
        let url = action.sign(SIGNED);
        let reply = self
            .send(&Method::POST, &url, &action.body().into())?
            .done()?;
        // Such an answer begins before it is known how it ends.
        CompleteMultipartUploadResponse::parse(&reply.text())
            .map(drop)
            .map_err(|_| reply.refusal())
    }

    pub(super) fn remove(&self, key: &str) -> Result<(), Error> {
        self.remove_object(&self.object(key))
            .map_err(self.at("remove", key))
    }

    fn remove_object(&self, object: &str) -> io::Result<()> {
        let action = self
            .settings
            .bucket
            .delete_object(self.credentials(), object);
        self.act(&action, &Method::DELETE)?.found().map(drop)
    }

    /// Removes all objects below a key, in the order of their keys.
    pub(super) fn remove_below(&self, key: &str) -> Result<(), Error> {
        let prefix = format!("{}/", self.object(key));
        let remove = || {
            for page in self.pages(&prefix, None)? {
                for object in page.contents {
                    self.remove_object(&object.key)?;
                }
            }
            Ok(())
        };
        remove().map_err(self.at("remove", key))
    }

    /// What is right below a key, by name.
    pub(super) fn list(&self, key: &str) -> Result<Vec<Entry>, Error> {
        let prefix = match key {
            "" => self.settings.root.clone(),
            key => format!("{}/", self.object(key)),
        };
        let pages = self
            .pages(&prefix, Some("/"))
            .map_err(self.at("list", key))?;
        let mut all = Vec::new();
        for page in pages {
            let objects = page.contents.into_iter().map(|object| (object.key, false));
            let folders = page.common_prefixes.into_iter();
            let folders = folders.map(|folder| (folder.prefix, true));
            for (name, is_folder) in objects.chain(folders) {
                let name = name.strip_prefix(&prefix).unwrap_or_default();
                let name = name.trim_end_matches('/').to_owned();
                if !name.is_empty() {
                    all.push(Entry { name, is_folder });
                }
            }
        }
        all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// Names right below a key that have an object at `below`, by name. One list tells of a thousand objects: a look at each would be a
    /// request for each.
    pub(super) fn with(&self, key: &str, below: &str) -> Result<Vec<String>, Error> {
        let (prefix, end) = (format!("{}/", self.object(key)), format!("/{below}"));
        let pages = self.pages(&prefix, None).map_err(self.at("list", key))?;
        let objects = pages.into_iter().flat_map(|page| page.contents);
        let names = objects.filter_map(|object| {
            let name = object.key.strip_prefix(&prefix)?.strip_suffix(&end)?;
            (!name.contains('/')).then(|| name.to_owned())
        });
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        Ok(names)
    }

    fn pages(
        &self,
        prefix: &str,
        delimiter: Option<&str>,
    ) -> io::Result<Vec<ListObjectsV2Response>> {
        let mut pages: Vec<ListObjectsV2Response> = Vec::new();
        let mut next = None;
        loop {
            let mut action = self.settings.bucket.list_objects_v2(self.credentials());
            action.with_prefix(prefix);
            if let Some(delimiter) = delimiter {
                action.with_delimiter(delimiter);
            }
            if let Some(token) = next {
                action.with_continuation_token(token);
            }
            let reply = self.act(&action, &Method::GET)?.done()?;
            let page = ListObjectsV2::parse_response(&reply.text()).map_err(io::Error::other)?;
            next = page.next_continuation_token.clone();
            pages.push(page);
            if next.is_none() {
                return Ok(pages);
            }
        }
    }
}

/// The next bytes of a file; none at its end.
fn next_part(file: &mut File, part: u64) -> io::Result<Bytes> {
    let mut bytes = Vec::new();
    file.take(part).read_to_end(&mut bytes)?;
    Ok(bytes.into())
}

fn request(method: &Method, url: &url::Url, body: Bytes) -> io::Result<Request<Full<Bytes>>> {
    Request::builder()
        .method(method)
        .uri(url.as_str())
        .header(CONTENT_LENGTH, body.len())
        .body(Full::new(body))
        .map_err(io::Error::other)
}

async fn reply(http: &Http, method: &Method, url: &url::Url, body: Bytes) -> io::Result<Reply> {
    let request = request(method, url, body)?;
    let answered = async {
        let response = http.request(request).await.map_err(io::Error::other)?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        Ok(Reply {
            status: parts.status,
            headers: parts.headers,
            body: body.map_err(io::Error::other)?.to_bytes(),
        })
    };
    tokio::time::timeout(PATIENCE, answered)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

impl Reply {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The answer, if the request did what it should.
    fn done(self) -> io::Result<Reply> {
        match self.status.is_success() {
            true => Ok(self),
            false => Err(self.refusal()),
        }
    }

    /// As [`Reply::done`]; `None` if there is no such object.
    fn found(self) -> io::Result<Option<Reply>> {
        // To a HEAD, a bucket that is not there is answered alike; that one was there when it was opened.
        match self.status {
            StatusCode::NOT_FOUND if !self.text().contains("<Code>NoSuchBucket</Code>") => Ok(None),
            _ => self.done().map(Some),
        }
    }

    /// Why not, in the server's words if it has some.
    fn refusal(&self) -> io::Error {
        let text = self.text();
        let field = |name: &str| {
            let (_, rest) = text.split_once(&format!("<{name}>"))?;
            rest.split_once('<').map(|(value, _)| value.to_owned())
        };
        let said: Vec<String> = ["Code", "Message"].into_iter().filter_map(field).collect();
        io::Error::other(format!("{}: {}", self.status, said.join(": ")))
    }

    fn stat(&self) -> io::Result<(u64, SystemTime)> {
        let header = |name| self.headers.get(name).and_then(|value| value.to_str().ok());
        let size = header(CONTENT_LENGTH).and_then(|text| text.parse().ok());
        let changed = header(LAST_MODIFIED)
            .and_then(|text| jiff::fmt::rfc2822::parse(text).ok())
            .map(|time| SystemTime::from(time.timestamp()));
        match (size, changed) {
            (Some(size), Some(changed)) => Ok((size, changed)),
            _ => Err(io::Error::other("an answer without a size or a time")),
        }
    }
}

/// An object that is about to be read.
#[derive(Debug)]
pub(crate) struct Object {
    url: url::Url,
    size: u64,
    redirects: bool,
    http: Http,
}

impl Object {
    /// Size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Where clients are sent for it, if they are.
    pub(crate) fn address(&self) -> Option<&str> {
        self.redirects.then(|| self.url.as_str())
    }

    /// `length` bytes from `start` on, as they come. An object that breaks off is gone on with where it did.
    pub(crate) fn stream(self, start: u64, length: u64) -> mpsc::Receiver<io::Result<Bytes>> {
        let (sender, receiver) = mpsc::channel(AHEAD);
        tokio::spawn(async move {
            let (mut at, end) = (start, start + length);
            let mut attempt = 0;
            while at < end {
                attempt += 1;
                match self.copy(&mut at, end, &sender).await {
                    // The client is gone.
                    Ok(false) => return,
                    Ok(true) => {}
                    Err(error) if attempt == ATTEMPTS => {
                        tracing::error!(%error, "read a blob");
                        let _ = sender.send(Err(error)).await;
                        return;
                    }
                    Err(_) => tokio::time::sleep(PAUSE).await,
                }
            }
        });
        receiver
    }

    /// Hands on what comes from `at` to `end`; whether somebody wants more.
    async fn copy(
        &self,
        at: &mut u64,
        end: u64,
        sender: &mpsc::Sender<io::Result<Bytes>>,
    ) -> io::Result<bool> {
        let mut request = request(&Method::GET, &self.url, Bytes::new())?;
        let range = format!("bytes={at}-{}", end - 1);
        request
            .headers_mut()
            .insert(RANGE, range.parse().map_err(io::Error::other)?);
        let answered = tokio::time::timeout(PATIENCE, self.http.request(request)).await;
        let response = answered
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
            .map_err(io::Error::other)?;
        if response.status() != StatusCode::PARTIAL_CONTENT {
            return Err(io::Error::other(response.status().to_string()));
        }
        let mut body: Incoming = response.into_body();
        while let Some(frame) = tokio::time::timeout(PATIENCE, body.frame())
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
        {
            let Ok(piece) = frame.map_err(io::Error::other)?.into_data() else {
                continue;
            };
            *at += piece.len() as u64;
            if sender.send(Ok(piece)).await.is_err() {
                return Ok(false);
            }
        }
        match *at < end {
            true => Err(io::ErrorKind::UnexpectedEof.into()),
            false => Ok(true),
        }
    }
}
