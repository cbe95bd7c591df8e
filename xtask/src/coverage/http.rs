//! Reads recordings: HTTP/1.1 as far as it was kept, and as far as it is HTTP.

use std::path::Path;

use anyhow::Result;
use serde_json::Value;

/// One request with its answer.
pub(super) struct Exchange {
    pub(super) method: String,
    /// Path, without the version.
    pub(super) path: String,
    /// Names in the query that have a value.
    pub(super) query: Vec<String>,
    pub(super) headers: Vec<String>,
    /// JSON documents of the body: one, or the lines of a stream.
    pub(super) body: Vec<Value>,
    pub(super) status: u16,
    pub(super) answer: Vec<Value>,
}

/// A message: its first line, its headers and its body.
struct Message<'a> {
    first: &'a str,
    headers: Vec<(String, &'a str)>,
    body: Vec<u8>,
}

/// Everything that is in `folder`.
pub(super) fn read(folder: &Path) -> Result<Vec<Exchange>> {
    let mut exchanges = Vec::new();
    for entry in std::fs::read_dir(folder)?.flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|kind| kind == "request") {
            let request = std::fs::read(&path)?;
            let answer = std::fs::read(path.with_extension("answer")).unwrap_or_default();
            connection(&request, &answer, &mut exchanges);
        }
    }
    Ok(exchanges)
}

fn connection(mut requests: &[u8], mut answers: &[u8], exchanges: &mut Vec<Exchange>) {
    while let Some((request, rest)) = message(requests, None) {
        requests = rest;
        let mut words = request.first.split(' ');
        let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let Some((answer, rest)) = message(answers, Some(method)) else {
            return;
        };
        answers = rest;
        let status = answer.first.split(' ').nth(1);
        let status = status.and_then(|text| text.parse().ok()).unwrap_or(0);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query = query.split('&').filter_map(|pair| pair.split_once('='));
        let names =
            |headers: &[(String, &str)]| headers.iter().map(|(name, _)| name.clone()).collect();
        exchanges.push(Exchange {
            method: method.to_lowercase(),
            path: without_version(path).to_owned(),
            query: query
                .filter(|(_, value)| !value.is_empty())
                .map(|(name, _)| name.to_owned())
                .collect(),
            headers: names(&request.headers),
            body: documents(&request.body),
            status,
            answer: documents(&answer.body),
        });
        if status == 101 {
            // What follows is no HTTP any more.
            return;
        }
    }
}

fn without_version(path: &str) -> &str {
    let rest = path.strip_prefix("/v1.");
    let rest = rest.and_then(|rest| rest.find('/').and_then(|at| rest.get(at..)));
    rest.unwrap_or(path)
}

fn documents(body: &[u8]) -> Vec<Value> {
    let stream = serde_json::Deserializer::from_slice(body).into_iter();
    stream.map_while(Result::ok).collect()
}

/// The first message of `bytes`, and what follows it. `answer_to`: the method that it answers.
fn message<'a>(bytes: &'a [u8], answer_to: Option<&str>) -> Option<(Message<'a>, &'a [u8])> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(bytes.get(..end)?).ok()?;
    let rest = bytes.get(end + 4..)?;
    let mut lines = head.split("\r\n");
    let first = lines.next()?;
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim()))
        .collect();
    let header = |name: &str| {
        headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| *value)
    };
    let none =
        answer_to == Some("HEAD") || [" 204", " 304"].iter().any(|status| first.contains(status));
    let (body, rest) = if none {
        (Vec::new(), rest)
    } else if header("transfer-encoding") == Some("chunked") {
        chunks(rest)
    } else if let Some(length) = header("content-length") {
        let length = length.parse::<usize>().ok()?.min(rest.len());
        (rest.get(..length)?.to_vec(), rest.get(length..)?)
    } else if answer_to.is_some() && header("upgrade").is_none() {
        (rest.to_vec(), &[][..])
    } else {
        (Vec::new(), rest)
    };
    Some((
        Message {
            first,
            headers,
            body,
        },
        rest,
    ))
}

/// Undoes the transfer coding, as far as the recording goes.
fn chunks(mut bytes: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut body = Vec::new();
    let next = |bytes: &[u8]| -> Option<(usize, usize)> {
        let end = bytes.windows(2).position(|two| two == b"\r\n")?;
        let size = std::str::from_utf8(bytes.get(..end)?).ok()?;
        Some((end + 2, usize::from_str_radix(size.trim(), 16).ok()?))
    };
    while let Some((start, size)) = next(bytes) {
        let end = (start + size).min(bytes.len());
        body.extend_from_slice(bytes.get(start..end).unwrap_or_default());
        bytes = bytes.get(end + 2..).unwrap_or_default();
        if size == 0 {
            break;
        }
    }
    (body, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_exchanges_of_one_connection_are_read() {
        let requests = b"POST /v1.41/a?x=1&y= HTTP/1.1\r\nContent-Length: 7\r\n\r\n{\"b\":1}HEAD /b HTTP/1.1\r\n\r\nGET /c HTTP/1.1\r\n\r\n";
        let answers = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{\"c\"\r\n3\r\n:2}\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHTTP/1.1 101 UPGRADED\r\n\r\nbytes";
        let mut found = Vec::new();
        connection(requests, answers, &mut found);
        assert_eq!(found.len(), 3);
        assert_eq!(
            (found[0].path.as_str(), found[0].query.as_slice()),
            ("/a", &["x".to_owned()][..])
        );
        assert_eq!(found[0].body[0]["b"], 1);
        assert_eq!(found[0].answer[0]["c"], 2);
        assert_eq!((found[1].status, found[1].answer.len()), (200, 0));
        assert_eq!(found[2].status, 101);
    }
}
