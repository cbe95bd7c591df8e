//! What other name servers answered lately: the same question, byte for byte, within the answer's time to live.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RData;

/// An answer is asked for again after as long, whatever its servers say: hosts move between networks.
const LONGEST: Duration = Duration::from_secs(300);
/// The same of the answer that there is nothing.
const LONGEST_NOTHING: Duration = Duration::from_secs(10);
/// Answers that are kept.
const MOST: usize = 2048;
/// Identifier of a message.
const ID: usize = 2;

/// The answers of all containers that ask the same servers.
#[derive(Default)]
pub(crate) struct Cache {
    answers: Mutex<HashMap<Key, Kept>>,
}

/// Whose answers these are: what a container's own servers say, which are asked from inside its networks, is nobody
/// else's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Asked {
    /// `None` where the host asks.
    pub(super) container: Option<String>,
    pub(super) servers: Vec<IpAddr>,
    pub(super) tcp: bool,
}

/// Who was asked, and the question without its identifier.
type Key = (Asked, Vec<u8>);

struct Kept {
    answer: Message,
    since: Instant,
    until: Instant,
}

impl Cache {
    /// The answer to `query` of these servers if one is known, with what is left of its time to live.
    pub(super) fn get(&self, asked: &Asked, query: &[u8]) -> Option<Vec<u8>> {
        let (id, rest) = query.split_first_chunk::<ID>()?;
        let key = (asked.clone(), rest.to_vec());
        let now = Instant::now();
        let mut answer = {
            let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            let kept = answers.get(&key).filter(|kept| now < kept.until)?;
            let age = u32::try_from((now - kept.since).as_secs()).unwrap_or(u32::MAX);
            let mut answer = kept.answer.clone();
            let records = answer.answers.iter_mut().chain(&mut answer.authorities);
            for record in records.chain(&mut answer.additionals) {
                record.ttl = record.ttl.saturating_sub(age);
            }
            answer
        };
        answer.metadata.id = u16::from_be_bytes(*id);
        answer.to_vec().ok()
    }

    /// Keeps an answer, if it is one that may be given again.
    pub(super) fn put(&self, asked: &Asked, query: &[u8], answer: &[u8]) {
        let Some(rest) = query.get(ID..) else { return };
        let Ok(answer) = Message::from_vec(answer) else {
            return;
        };
        let Some(life) = life(&answer) else { return };
        let now = Instant::now();
        let kept = Kept {
            answer,
            since: now,
            until: now + life,
        };
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= MOST {
            answers.retain(|_, kept| now < kept.until);
        }
        // All of them in use: a cache that is full of one container's inventions starts anew.
        if answers.len() >= MOST {
            answers.clear();
        }
        answers.insert((asked.clone(), rest.to_vec()), kept);
    }
}

/// How long an answer may be given again; `None` if not at all.
fn life(answer: &Message) -> Option<Duration> {
    if answer.metadata.truncation || answer.signature.is_some() {
        return None;
    }
    let known = matches!(
        answer.metadata.response_code,
        ResponseCode::NoError | ResponseCode::NXDomain
    );
    let seconds = |ttl: u32| Duration::from_secs(ttl.into());
    let least = answer.answers.iter().map(|record| record.ttl).min();
    let life = match least {
        Some(ttl) => seconds(ttl).min(LONGEST),
        // RFC 2308: the zone says how long nothing stays nothing.
        None => {
            let soa = answer
                .authorities
                .iter()
                .find_map(|record| match &record.data {
                    RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
                    _ => None,
                });
            seconds(soa?).min(LONGEST_NOTHING)
        }
    };
    (known && !life.is_zero()).then_some(life)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::{OpCode, Query};
    use hickory_proto::rr::rdata::A;
    use hickory_proto::rr::{Name, Record, RecordType};

    fn query(id: u16, name: &str) -> Message {
        let mut query = Message::query();
        query.metadata.id = id;
        let name = Name::from_ascii(name).unwrap();
        query.add_query(Query::query(name, RecordType::A));
        query
    }

    fn answer(query: &Message, ttl: u32) -> Message {
        let mut answer = Message::response(query.metadata.id, OpCode::Query);
        answer.queries.clone_from(&query.queries);
        let name = query.queries[0].name().clone();
        let address = RData::A(A::new(192, 0, 2, 7));
        answer.answers.push(Record::from_rdata(name, ttl, address));
        answer
    }

    #[test]
    fn the_same_question_has_the_same_answer_under_its_own_number() {
        let cache = Cache::default();
        let asked = Asked {
            container: None,
            servers: vec!["192.0.2.1".parse().unwrap()],
            tcp: false,
        };
        let (first, second) = (query(1, "a.test."), query(2, "a.test."));
        let bytes = |message: &Message| message.to_vec().unwrap();
        cache.put(&asked, &bytes(&first), &bytes(&answer(&first, 60)));
        let found = cache.get(&asked, &bytes(&second)).unwrap();
        let found = Message::from_vec(&found).unwrap();
        assert_eq!(found.metadata.id, 2);
        assert_eq!(found.answers.len(), 1);
        let missing = |asked: &Asked, query: &Message| cache.get(asked, &bytes(query)).is_none();
        assert!(missing(&asked, &query(3, "b.test.")));
        let over_tcp = Asked {
            tcp: true,
            ..asked.clone()
        };
        let of_container = Asked {
            container: Some("c1".to_owned()),
            ..asked.clone()
        };
        let of_others = Asked {
            servers: Vec::new(),
            ..asked
        };
        for other in [over_tcp, of_container, of_others] {
            assert!(missing(&other, &second), "{other:?}");
        }
    }

    #[test]
    fn what_must_not_be_kept_is_not() {
        let question = query(1, "a.test.");
        assert_eq!(life(&answer(&question, 0)), None);
        let mut failed = answer(&question, 60);
        failed.metadata.response_code = ResponseCode::ServFail;
        assert_eq!(life(&failed), None);
        let mut cut = answer(&question, 60);
        cut.metadata.truncation = true;
        assert_eq!(life(&cut), None);
        let mut nothing = answer(&question, 60);
        nothing.answers.clear();
        assert_eq!(life(&nothing), None, "no zone says for how long");
        assert_eq!(life(&answer(&question, 1_000_000)), Some(LONGEST));
    }
}
