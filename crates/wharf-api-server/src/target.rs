//! The target of a request, as it stands in its line: what Go's server takes, and hyper does not.

/// Makes the target of a request one that hyper takes: without a scheme that no host follows, and with escapes.
pub(crate) fn mend(front: &mut Vec<u8>) {
    let Some(end) = front.iter().position(|byte| *byte == b'\n') else {
        return;
    };
    let line = &front[..end];
    let start = line.iter().position(|byte| *byte == b' ').map(|at| at + 1);
    let stop = line.windows(6).rposition(|window| window == b" HTTP/");
    let (Some(start), Some(stop)) = (start, stop) else {
        return;
    };
    let Some(target) = line.get(start..stop) else {
        return;
    };
    let path = without_scheme(target);
    if path.len() == target.len() && !path.iter().any(is_odd) {
        return;
    }
    let escaped: Vec<u8> = path.iter().flat_map(escaped).collect();
    front.splice(start..stop, escaped);
}

/// The path of `http:/info` and of `http:///info`, of whatever scheme; where a host is named, hyper reads it.
fn without_scheme(target: &[u8]) -> &[u8] {
    let scheme = target.iter().position(|byte| *byte == b':').unwrap_or(0);
    let (scheme, rest) = target.split_at(scheme);
    let is_scheme = scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && (scheme.iter()).all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte));
    let path = rest
        .strip_prefix(b"://")
        .filter(|path| path.starts_with(b"/"));
    let path = path.or_else(|| rest.strip_prefix(b":").filter(|path| is_rooted(path)));
    path.filter(|_| is_scheme).unwrap_or(target)
}

/// Whether this is a path, and not a host with one.
fn is_rooted(rest: &[u8]) -> bool {
    rest.starts_with(b"/") && !rest.starts_with(b"//")
}

/// Bytes that Go's server takes in a target, and hyper does not. A fragment is no part of a request: it belongs to the path.
fn is_odd(byte: &u8) -> bool {
    matches!(byte, b'"' | b'<' | b'>' | b'`' | b'#') || !byte.is_ascii()
}

fn escaped(byte: &u8) -> Vec<u8> {
    match is_odd(byte) {
        true => format!("%{byte:02X}").into_bytes(),
        false => vec![*byte],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mended(target: &str) -> String {
        let rest = "HTTP/1.1\r\nA: http:/\"b\"\r\n\r\n";
        let mut front = format!("GET {target} {rest}").into_bytes();
        mend(&mut front);
        let text = String::from_utf8(front).unwrap();
        let target = text.strip_prefix("GET ").unwrap();
        target.strip_suffix(&format!(" {rest}")).unwrap().to_owned()
    }

    #[test]
    fn a_target_may_be_as_it_was_typed() {
        assert_eq!(
            mended("/containers/json?filters={\"label\":[\"a`b\"]}&x=é#y"),
            "/containers/json?filters={%22label%22:[%22a%60b%22]}&x=%C3%A9%23y"
        );
    }

    /// systeminformation asks so, by HTTP/1.0.
    #[test]
    fn a_scheme_needs_no_host() {
        for (asked, path) in [
            ("http:/info", "/info"),
            ("HTTP:///info?a=b:/c", "/info?a=b:/c"),
            ("a+b.c-1:/\"", "/%22"),
        ] {
            assert_eq!(mended(asked), path);
        }
        for other in [
            "http://docker/info",
            "/images/a:/b",
            "1:/info",
            "http:info",
            "*",
            "docker:2375",
        ] {
            assert_eq!(mended(other), other);
        }
    }
}
