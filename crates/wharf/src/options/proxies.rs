//! `proxies` of `config.json`: variables that containers and builds get, by the daemon that is spoken to.

use serde_json::Value;

use crate::format::json;

/// The variables, in upper and lower case, that `known` does not have yet (`ParseProxyConfig` of Docker's client).
pub fn missing(config: &Value, host: &str, known: &dyn Fn(&str) -> bool) -> Vec<(String, String)> {
    let all = &config["proxies"];
    let ours = json::field(all, host).unwrap_or(&all["default"]);
    let mut found = Vec::new();
    for (setting, variable) in [
        ("httpProxy", "HTTP_PROXY"),
        ("httpsProxy", "HTTPS_PROXY"),
        ("noProxy", "NO_PROXY"),
        ("ftpProxy", "FTP_PROXY"),
        ("allProxy", "ALL_PROXY"),
    ] {
        let value = json::text(ours, setting);
        if value.is_empty() {
            continue;
        }
        for name in [variable.to_owned(), variable.to_lowercase()] {
            if !known(&name) {
                found.push((name, value.to_owned()));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemons_own_come_in_place_of_the_default() {
        let config = serde_json::json!({"proxies": {
            "default": {"httpProxy": "http://p", "noProxy": "n"},
            "unix:///s": {"httpsProxy": "http://s"},
        }});
        let names = |host: &str, own: &[&str]| {
            let found = missing(&config, host, &|name| own.contains(&name));
            let found = found.iter().map(|(name, value)| format!("{name}={value}"));
            found.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            names("unix:///s", &[]),
            "HTTPS_PROXY=http://s https_proxy=http://s"
        );
        assert_eq!(
            names("tcp://h:1", &["HTTP_PROXY", "no_proxy"]),
            "http_proxy=http://p NO_PROXY=n"
        );
        assert!(missing(&Value::Null, "unix:///s", &|_| false).is_empty());
    }
}
