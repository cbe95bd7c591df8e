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
    /// Those of the registry; [`RegistryError::Protocol`] of a list that does not end, or whose next page is nowhere.
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
            let broken = |message: String| RegistryError::Protocol {
                url: uri.to_string(),
                message,
            };
            let next = next(response.headers(), path).map_err(broken)?;
            let page = self.0.http.body(&uri, response, room).await?;
            room = room.saturating_sub(page.len() as u64);
            pages.push(page);
            match next {
                None => return Ok(pages),
                Some(_) if pages.len() == MAX_PAGES => {
                    return Err(broken("a list without an end".to_owned()));
                }
                Some(next) => rest = next,
            }
        }
    }
}

/// Where the next page is, below the repository: `</v2/x/tags/list?last=y&n=100>; rel="next"`. The place of the list is known, so
/// that only the query is taken from the registry.
///
/// # Errors
/// If there is a next page, but not of this list: what came would pass for all of it.
fn next(headers: &HeaderMap, path: &str) -> Result<Option<String>, String> {
    let links = headers.get_all(LINK).iter().map(|value| value.to_str());
    let links: Result<Vec<&str>, _> = links.collect();
    let links = links.map_err(|_| "a link to more of the list is no text".to_owned())?;
    let Some(target) = links.into_iter().flat_map(targets_of_next).next() else {
        return Ok(None);
    };
    let nowhere = || format!("the list goes on at {target:?}, which is no page of it");
    let (place, query) = target.split_once('?').ok_or_else(nowhere)?;
    let place = place.replace("%3A", ":").replace("%3a", ":");
    if !place.is_empty() && !place.ends_with(path) {
        return Err(nowhere());
    }
    Ok(Some(format!("{path}?{query}")))
}

/// The targets of a header's links that say `rel="next"`. A header may have several links, and a link several relations (RFC 8288,
/// section 3).
fn targets_of_next(header: &str) -> impl Iterator<Item = &str> {
    let mut rest = header;
    std::iter::from_fn(move || {
        loop {
            let (target, behind) = rest.split_once('<')?.1.split_once('>')?;
            let (mut parameters, further) = cut(behind, ',');
            rest = further;
            while !parameters.is_empty() {
                let (parameter, more) = cut(parameters, ';');
                if is_next(parameter) {
                    return Some(target);
                }
                parameters = more;
            }
        }
    })
}

/// What is before and after the first such letter that is not in quotes.
fn cut(text: &str, at: char) -> (&str, &str) {
    let mut quoted = false;
    let end = text.find(|letter| {
        quoted ^= letter == '"';
        letter == at && !quoted
    });
    let end = end.unwrap_or(text.len());
    (&text[..end], text.get(end + 1..).unwrap_or_default())
}

fn is_next(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else {
        return false;
    };
    let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
    name.trim().eq_ignore_ascii_case("rel")
        && relations.any(|relation| relation.eq_ignore_ascii_case("next"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(links: &[&'static str]) -> Result<Option<String>, String> {
        let mut headers = HeaderMap::new();
        for link in links {
            headers.append(LINK, HeaderValue::from_static(link));
        }
        next(&headers, "tags/list")
    }

    #[test]
    fn only_a_query_is_taken_from_a_link() {
        let here = Ok(Some("tags/list?n=2&last=b".to_owned()));
        for link in [
            r#"</v2/a/tags/list?n=2&last=b>; rel="next""#,
            r#"<https://elsewhere/v2/b/tags/list?n=2&last=b>; rel=next"#,
            r#"<?n=2&last=b>;REL = "Next""#,
        ] {
            assert_eq!(of(&[link]), here, "{link}");
        }
        assert_eq!(of(&[r#"</v2/a/tags/list?n=2>; rel="prev""#]), Ok(None));
        assert_eq!(of(&["nonsense"]), Ok(None));
        assert_eq!(of(&[]), Ok(None));
    }

    #[test]
    fn the_next_page_is_one_of_several_links() {
        let here = Ok(Some("tags/list?n=2".to_owned()));
        let prev = r#"</v2/a/tags/list?n=1>; title="a, b; c"; rel="first prev""#;
        let next = r#"</v2/a/tags/list?n=2>; rel="last next""#;
        assert_eq!(of(&[prev, next]), here);
        let both = r#"</v2/a/tags/list?n=1>; title="a, b; rel=next"; rel="prev", </v2/a/tags/list?n=2>; rel="next""#;
        assert_eq!(of(&[both]), here);
        let encoded = HeaderMap::from_iter([(
            LINK,
            HeaderValue::from_static(r#"</v2/a/referrers/sha256%3Aab?n=2>; rel="next""#),
        )]);
        let page = super::next(&encoded, "referrers/sha256:ab");
        assert_eq!(page, Ok(Some("referrers/sha256:ab?n=2".to_owned())));
    }

    #[test]
    fn a_list_that_goes_on_elsewhere_is_not_taken_for_whole() {
        for link in [
            r#"</v2/a/manifests/x?n=2>; rel="next""#,
            r#"</v2/a/tags/list>; rel="next""#,
        ] {
            assert!(of(&[link]).is_err(), "{link}");
        }
    }
}
