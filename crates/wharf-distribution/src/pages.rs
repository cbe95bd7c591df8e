//! Lists that come by pages: each names the next one in `Link` (RFC 8288, `rel="next"`).

use bytes::Bytes;
use http::header::{ACCEPT, LINK};
use http::{HeaderMap, HeaderValue};

use crate::answer::RegistryAnswer;
use crate::http_client::Call;
use crate::resolve::refusal;
use crate::{Client, RegistryError, Source};

/// A list longer than this, all its pages together, is refused.
const MAX_LIST: u64 = 16 * 1024 * 1024;
/// And one of more pages than these: a registry may send on and on to pages of nothing.
const MAX_PAGES: usize = 4096;

impl Client {
    /// The pages of the list at `path` of the source's repository, in order.
    ///
    /// # Errors
    /// Those of the registry; [`RegistryError::Protocol`] of a list that does not end.
    pub(crate) async fn pages(
        &self,
        source: &Source,
        path: &str,
        accept: &'static str,
    ) -> Result<Vec<Bytes>, RegistryError> {
        let (mut pages, mut room, mut rest) = (Vec::new(), MAX_LIST, path.to_owned());
        loop {
            let uri = self.address(source, &rest).await?;
            let mut call = Call::get(uri.clone());
            call.headers
                .insert(ACCEPT, HeaderValue::from_static(accept));
            let response = self.send(source, call).await?;
            if !response.status().is_success() {
                let answer = RegistryAnswer::read(&self.0.http, &uri, response).await?;
                return Err(refusal(answer, &source.reference));
            }
            let next = next(response.headers(), path);
            let page = self.0.http.body(&uri, response, room).await?;
            room = room.saturating_sub(page.len() as u64);
            pages.push(page);
            match next {
                None => return Ok(pages),
                Some(_) if pages.len() == MAX_PAGES => {
                    return Err(RegistryError::Protocol {
                        url: uri.to_string(),
                        message: "a list without an end".to_owned(),
                    });
                }
                Some(next) => rest = next,
            }
        }
    }
}

/// Where the next page is, below the repository: `</v2/x/tags/list?last=y&n=100>; rel="next"`. The place of the list is known, so
/// that only the query is taken from the registry.
fn next(headers: &HeaderMap, path: &str) -> Option<String> {
    let link = headers.get(LINK)?.to_str().ok()?;
    let (place, relation) = link.split_once('<')?.1.split_once('>')?;
    let (before, query) = place.split_once('?')?;
    let is_next = relation.contains("rel=\"next\"") || relation.contains("rel=next");
    (is_next && before.ends_with(path)).then(|| format!("{path}?{query}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_query_is_taken_from_a_link() {
        let of = |link: &'static str| {
            let headers = HeaderMap::from_iter([(LINK, HeaderValue::from_static(link))]);
            next(&headers, "tags/list")
        };
        let here = Some("tags/list?n=2&last=b".to_owned());
        assert_eq!(of(r#"</v2/a/tags/list?n=2&last=b>; rel="next""#), here);
        assert_eq!(
            of(r#"<https://elsewhere/v2/b/tags/list?n=2&last=b>; rel=next"#),
            here
        );
        for nothing in [
            r#"</v2/a/tags/list?n=2>; rel="prev""#,
            r#"</v2/a/manifests/x?n=2>; rel="next""#,
            r#"</v2/a/tags/list>; rel="next""#,
            "nonsense",
        ] {
            assert_eq!(of(nothing), None, "{nothing}");
        }
    }
}
