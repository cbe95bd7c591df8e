//! `attach` and `logs`.

use axum::Extension;
use axum::extract::{Path, Request};
use bytes::{BufMut as _, Bytes, BytesMut};
use jiff::Timestamp;
use wharf_engine::{AttachOptions, LogOptions, LogStream, parse_time};
use wharf_logs::{Entry, Stream};

use super::State;
use crate::error::ApiError;
use crate::params::Params;
use crate::reply::{self, Answer};
use crate::version::Asked;
use crate::{hijack, websocket};

pub(crate) async fn attach(
    engine: State,
    Extension(Asked { version, .. }): Extension<Asked>,
    Path(id): Path<String>,
    params: Params,
    mut request: Request,
) -> Answer {
    match engine.containers.attach(&id, options(&params)).await {
        Ok(attachment) => Ok(hijack::attach(&mut request, version, attachment)),
        Err(error) => Ok(hijack::refuse(error.into())),
    }
}

fn options(params: &Params) -> AttachOptions {
    AttachOptions {
        stdin: params.flag("stdin"),
        stdout: params.flag("stdout"),
        stderr: params.flag("stderr"),
        logs: params.flag("logs"),
        stream: params.flag("stream"),
        detach_keys: params.some("detachKeys"),
    }
}

/// The same over a WebSocket. An unknown container, or one that nobody may attach to, is told of before the handshake.
pub(crate) async fn attach_websocket(
    engine: State,
    Extension(Asked { version, .. }): Extension<Asked>,
    Path(id): Path<String>,
    params: Params,
    mut request: Request,
) -> Answer {
    engine.containers.may_attach(&id)?;
    let key = websocket::key(request.headers())?;
    let mut options = options(&params);
    if version.before(42) {
        // Which streams was not asked then.
        (options.stdin, options.stdout, options.stderr) = (true, true, true);
    }
    let attachment = engine.containers.attach(&id, options).await?;
    Ok(websocket::attach(&mut request, &key, attachment))
}

/// A point in time of the query; `0` and nothing stand for none.
pub(crate) fn time(params: &Params, name: &str) -> Result<Option<Timestamp>, ApiError> {
    let Some(text) = params.some(name).filter(|text| text != "0") else {
        return Ok(None);
    };
    let time = parse_time(&text, Timestamp::now());
    time.map(Some).ok_or_else(|| {
        ApiError::bad(format!(
            "invalid value for \"{name}\": failed to parse value as time or duration: {text:?}"
        ))
    })
}

pub(crate) async fn logs(
    engine: State,
    Extension(Asked { version, .. }): Extension<Asked>,
    Path(id): Path<String>,
    params: Params,
) -> Answer {
    let options = LogOptions {
        stdout: params.flag("stdout"),
        stderr: params.flag("stderr"),
        since: time(&params, "since")?,
        until: time(&params, "until")?,
        // Docker takes anything that is no number, or a negative one, for all.
        tail: params.get("tail").parse().ok(),
        follow: params.flag("follow"),
    };
    let stream = engine.containers.logs(&id, options).await?;
    let shape = Shape {
        framed: !stream.tty(),
        timestamps: params.flag("timestamps"),
        details: params.flag("details"),
    };
    let kind = match shape.framed && !version.before(42) {
        true => "application/vnd.docker.multiplexed-stream",
        false => "application/vnd.docker.raw-stream",
    };
    Ok(reply::stream(kind, lines(stream, shape)))
}

/// Ours: throws away what the log holds.
pub(crate) async fn clear(engine: State, Path(id): Path<String>) -> Answer {
    engine.containers.clear_logs(&id).await?;
    reply::empty(http::StatusCode::NO_CONTENT)
}

#[derive(Clone, Copy)]
struct Shape {
    framed: bool,
    timestamps: bool,
    details: bool,
}

fn lines(
    stream: LogStream,
    shape: Shape,
) -> impl futures_util::Stream<Item = Result<Bytes, std::io::Error>> {
    futures_util::stream::unfold(Some(stream), move |stream| async move {
        let mut stream = stream?;
        match stream.next().await? {
            Ok(entry) => {
                let mut bytes = BytesMut::new();
                encode(&mut bytes, &entry, shape);
                while let Some(entry) = stream.at_hand() {
                    encode(&mut bytes, &entry, shape);
                }
                Some((Ok(bytes.freeze()), Some(stream)))
            }
            Err(error) => Some((Err(std::io::Error::other(error.message())), None)),
        }
    })
}

fn encode(bytes: &mut BytesMut, entry: &Entry, shape: Shape) {
    let mut head = String::new();
    if shape.timestamps {
        // RFC3339NanoFixed: nine digits always, so that lines align.
        head.push_str(&format!("{:.9} ", entry.time));
    }
    if shape.details {
        let pairs: Vec<_> = entry
            .attrs
            .iter()
            .map(|(key, value)| format!("{}={}", escape(key), escape(value)))
            .collect();
        head.push_str(&pairs.join(","));
        head.push(' ');
    }
    let length = head.len() + entry.log.len();
    bytes.reserve(length + 8);
    if shape.framed {
        bytes.put_u8(if entry.stream == Stream::Stdout { 1 } else { 2 });
        bytes.put_bytes(0, 3);
        bytes.put_u32(length as u32);
    }
    bytes.put_slice(head.as_bytes());
    bytes.put_slice(&entry.log);
}

fn escape(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(entry: &Entry, shape: Shape) -> Bytes {
        let mut bytes = BytesMut::new();
        encode(&mut bytes, entry, shape);
        bytes.freeze()
    }

    #[test]
    fn a_line_is_framed_and_stamped() {
        let entry = Entry {
            log: "hi\n".into(),
            stream: Stream::Stderr,
            time: "2026-01-02T03:04:05.1Z".parse().expect("time"),
            attrs: [("a b".to_owned(), "c,d".to_owned())].into(),
        };
        let plain = Shape {
            framed: true,
            timestamps: false,
            details: false,
        };
        assert_eq!(&encoded(&entry, plain)[..], b"\x02\0\0\0\0\0\0\x03hi\n");
        let all = Shape {
            framed: false,
            timestamps: true,
            details: true,
        };
        assert_eq!(
            &encoded(&entry, all)[..],
            b"2026-01-02T03:04:05.100000000Z a+b=c%2Cd hi\n"
        );
    }
}
