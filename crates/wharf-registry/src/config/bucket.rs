//! `storage.s3`: docker-registry's keys, as far as they are about where the bucket is and who asks.

use rusty_s3::{Bucket, Credentials, UrlStyle};

use super::file::S3;
use crate::Error;
use crate::store::BucketSettings;

/// docker-registry's: bytes of a part of a large object; S3 takes no less than 5 MiB.
const PART: u64 = 10 << 20;
const LEAST_PART: u64 = 5 << 20;

fn wrong(why: impl Into<String>) -> Error {
    Error::Config(format!("storage.s3.{}", why.into()))
}

/// Where the bucket is. Keys that the file does not have are AWS' of the environment.
pub(super) fn resolve(
    s3: S3,
    redirects: bool,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<BucketSettings, Error> {
    if s3.v4auth == Some(false) {
        return Err(wrong("v4auth: requests are signed by version 4 alone"));
    }
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let endpoint = given(s3.regionendpoint);
    // Other servers than Amazon's have no name for each bucket, as a rule.
    let style = match s3.forcepathstyle.unwrap_or(endpoint.is_some()) {
        true => UrlStyle::Path,
        false => UrlStyle::VirtualHost,
    };
    let endpoint = endpoint.unwrap_or_else(|| format!("s3.{}.amazonaws.com", s3.region));
    let scheme = if s3.secure.unwrap_or(true) {
        "https"
    } else {
        "http"
    };
    let endpoint = match endpoint.contains("://") {
        true => endpoint,
        false => format!("{scheme}://{endpoint}"),
    };
    let url = endpoint
        .parse()
        .map_err(|error| wrong(format!("regionendpoint: {endpoint:?}: {error}")))?;
    let part = s3.chunksize.map_or(PART, |size| size.0);
    if part < LEAST_PART {
        return Err(wrong(format!("chunksize: {part} is less than 5 MiB")));
    }
    let bucket = Bucket::new(url, style, s3.bucket.clone(), s3.region)
        .map_err(|error| wrong(format!("bucket: {:?}: {error}", s3.bucket)))?;
    let (key, secret) = match (given(s3.accesskey), given(s3.secretkey)) {
        (Some(key), Some(secret)) => (Some(key), Some(secret)),
        (None, None) => (
            variable("AWS_ACCESS_KEY_ID"),
            variable("AWS_SECRET_ACCESS_KEY"),
        ),
        _ => return Err(wrong("accesskey: goes with a secretkey")),
    };
    let (Some(key), Some(secret)) = (key, secret) else {
        return Err(wrong(
            "accesskey: no keys here, nor AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment",
        ));
    };
    let token = given(s3.sessiontoken).or_else(|| variable("AWS_SESSION_TOKEN"));
    let credentials = match token {
        Some(token) => Credentials::new_with_token(key, secret, token),
        None => Credentials::new(key, secret),
    };
    let root = s3.rootdirectory.trim_matches('/');
    if root.split('/').any(|part| matches!(part, "." | "..")) {
        return Err(wrong(format!(
            "rootdirectory: {root:?} is no beginning of keys"
        )));
    }
    Ok(BucketSettings {
        bucket,
        credentials,
        root: match root {
            "" => String::new(),
            root => format!("{root}/"),
        },
        part,
        redirects,
    })
}
