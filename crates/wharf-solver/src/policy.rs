//! Policies on sources: which of them a build may use, and what it gets instead of them (`sourcepolicy`).

use bollard_buildkit_proto::moby::buildkit::v1::sourcepolicy::{
    AttrMatch, MatchType, Policy, PolicyAction, Rule, Selector,
};
use bollard_buildkit_proto::pb;
use regex::{Captures, Regex};

use crate::SolveError;

/// Rules may lead from one source to the next so many times.
const STEPS: usize = 10;

/// Policies, which all must agree. Rules are read once.
#[derive(Debug, Default)]
pub struct Policies(Vec<Vec<Known>>);

#[derive(Debug)]
struct Known {
    rule: Rule,
    selector: Selector,
    /// Of a pattern.
    pattern: Option<Regex>,
    /// Of attributes that are to match one.
    attributes: Vec<Option<Regex>>,
}

impl Policies {
    /// Reads policies.
    ///
    /// # Errors
    /// If a rule has no selector, or a pattern that is none.
    pub fn read(policies: &[Policy]) -> Result<Self, SolveError> {
        let policies = policies.iter().map(|policy| {
            if policy.version > 1 {
                return Err(SolveError::Invalid(format!(
                    "unsupported source policy version {}",
                    policy.version
                )));
            }
            policy.rules.iter().map(Known::read).collect()
        });
        Ok(Self(policies.collect::<Result<_, _>>()?))
    }

    /// Holds a source against the policies, which may make it another one.
    ///
    /// # Errors
    /// If one forbids it.
    pub(crate) fn apply(&self, source: &mut pb::SourceOp) -> Result<(), SolveError> {
        for _ in 0..STEPS {
            if !self.step(source)? {
                return Ok(());
            }
        }
        Err(SolveError::Invalid(format!(
            "too many policy operations: source {}",
            source.identifier
        )))
    }

    /// Whether the source is another one now.
    fn step(&self, source: &mut pb::SourceOp) -> Result<bool, SolveError> {
        for rules in &self.0 {
            let mut denied = None;
            for known in rules {
                if !known.fits(source) {
                    continue;
                }
                match PolicyAction::try_from(known.rule.action) {
                    Ok(PolicyAction::Allow) => denied = None,
                    Ok(PolicyAction::Deny) => denied = Some(known),
                    Ok(PolicyAction::Convert) => {
                        if known.convert(source)? {
                            return Ok(true);
                        }
                    }
                    Err(_) => {
                        let action = known.rule.action;
                        let text = format!("source policy: unknown action {action}");
                        return Err(SolveError::Invalid(text));
                    }
                }
            }
            if let Some(known) = denied {
                return Err(SolveError::Forbidden(format!(
                    "source {:?} not allowed by policy: rule DENY {} applies",
                    source.identifier, known.selector.identifier
                )));
            }
        }
        Ok(false)
    }
}

impl Known {
    fn read(rule: &Rule) -> Result<Self, SolveError> {
        let invalid = |text: String| SolveError::Invalid(format!("source policy: {text}"));
        let selector = rule.selector.clone();
        let selector = selector.ok_or_else(|| invalid("a rule without a selector".to_owned()))?;
        let compile =
            |text: &str| Regex::new(text).map_err(|error| invalid(format!("{text:?}: {error}")));
        let pattern = match MatchType::try_from(selector.match_type) {
            Ok(MatchType::Exact) => None,
            Ok(MatchType::Regex) => Some(compile(&selector.identifier)?),
            Ok(MatchType::Wildcard) => Some(compile(&wildcard(&selector.identifier))?),
            Err(_) => return Err(invalid(format!("unknown match {}", selector.match_type))),
        };
        let attributes = selector.constraints.iter().map(|constraint| {
            match AttrMatch::try_from(constraint.condition) {
                Ok(AttrMatch::Matches) => compile(&constraint.value).map(Some),
                Ok(AttrMatch::Equal | AttrMatch::Notequal) => Ok(None),
                Err(_) => Err(invalid(format!(
                    "unknown condition {}",
                    constraint.condition
                ))),
            }
        });
        Ok(Self {
            attributes: attributes.collect::<Result<_, _>>()?,
            rule: rule.clone(),
            selector,
            pattern,
        })
    }

    fn fits(&self, source: &pb::SourceOp) -> bool {
        let constraints = self.selector.constraints.iter().zip(&self.attributes);
        let attributes = constraints.into_iter().all(|(constraint, pattern)| {
            let value = source.attrs.get(&constraint.key);
            let value = value.map_or("", String::as_str);
            match pattern {
                Some(pattern) => pattern.is_match(value),
                None => {
                    let wants_equal = constraint.condition == i32::from(AttrMatch::Equal);
                    (value == constraint.value) == wants_equal
                }
            }
        });
        let pattern = self.pattern.as_ref();
        let name = &source.identifier;
        attributes
            && (*name == self.selector.identifier
                || pattern.is_some_and(|pattern| pattern.is_match(name)))
    }

    /// Whether anything of the source is another thing now.
    fn convert(&self, source: &mut pb::SourceOp) -> Result<bool, SolveError> {
        let updates = self.rule.updates.as_ref().ok_or_else(|| {
            SolveError::Invalid(format!(
                "source policy: the rule CONVERT {} has no updates",
                self.selector.identifier
            ))
        })?;
        let mut changed = false;
        let name = match (updates.identifier.as_str(), &self.pattern) {
            ("", _) => source.identifier.clone(),
            (to, Some(pattern)) => {
                let put = |found: &Captures<'_>| {
                    let mut text = String::new();
                    found.expand(to, &mut text);
                    text
                };
                pattern.replace_all(&source.identifier, put).into_owned()
            }
            (to, None) => to.to_owned(),
        };
        if name != source.identifier {
            source.identifier = name;
            changed = true;
        }
        for (key, value) in &updates.attrs {
            if source.attrs.get(key) != Some(value) {
                source.attrs.insert(key.clone(), value.clone());
                changed = true;
            }
        }
        Ok(changed)
    }
}

/// `*` stands for anything, and is what `${1}` and so on of an update mean.
fn wildcard(text: &str) -> String {
    let parts: Vec<String> = text.split('*').map(regex::escape).collect();
    format!("^{}$", parts.join("(.*?)"))
}

#[cfg(test)]
mod tests {
    use bollard_buildkit_proto::moby::buildkit::v1::sourcepolicy::{AttrConstraint, Update};

    use super::*;

    fn rule(action: PolicyAction, kind: MatchType, name: &str, to: &str) -> Rule {
        Rule {
            action: action.into(),
            selector: Some(Selector {
                identifier: name.to_owned(),
                match_type: kind.into(),
                constraints: Vec::new(),
            }),
            updates: (!to.is_empty()).then(|| Update {
                identifier: to.to_owned(),
                ..Update::default()
            }),
        }
    }

    fn applied(rules: Vec<Rule>, name: &str) -> Result<String, SolveError> {
        let policies = Policies::read(&[Policy { version: 1, rules }])?;
        let mut source = pb::SourceOp {
            identifier: name.to_owned(),
            attrs: [("a".to_owned(), "b".to_owned())].into(),
        };
        policies.apply(&mut source)?;
        Ok(source.identifier)
    }

    #[test]
    fn the_last_word_counts() {
        let deny = rule(
            PolicyAction::Deny,
            MatchType::Wildcard,
            "docker-image://*",
            "",
        );
        let allow = "docker-image://docker.io/library/*";
        let allow = rule(PolicyAction::Allow, MatchType::Wildcard, allow, "");
        let both = vec![deny.clone(), allow.clone()];
        let good = "docker-image://docker.io/library/x:1";
        assert_eq!(applied(both.clone(), good).unwrap(), good);
        let error = applied(both, "docker-image://docker.io/me/x:1").unwrap_err();
        assert!(
            error.to_string().contains("not allowed by policy"),
            "{error}"
        );
        assert!(applied(vec![allow, deny], good).is_err());
    }

    #[test]
    fn sources_become_others() {
        let convert = |kind, from: &str, to: &str| rule(PolicyAction::Convert, kind, from, to);
        let wild = convert(
            MatchType::Wildcard,
            "docker-image://a/*:*",
            "docker-image://b/${1}:new",
        );
        assert_eq!(
            applied(vec![wild], "docker-image://a/x:1").unwrap(),
            "docker-image://b/x:new"
        );
        let regex = convert(
            MatchType::Regex,
            "^https://([^/]+)/",
            "https://mirror/${1}/",
        );
        // It fits what it makes, and so it has no end.
        assert!(applied(vec![regex], "https://h/f").is_err());
        let circle = vec![
            convert(MatchType::Exact, "git://a", "git://b"),
            convert(MatchType::Exact, "git://b", "git://a"),
        ];
        assert!(applied(circle, "git://a").is_err());
        assert!(applied(vec![convert(MatchType::Exact, "x", "")], "x").is_err());
    }

    #[test]
    fn attributes_count_too() {
        let mut deny = rule(PolicyAction::Deny, MatchType::Wildcard, "*", "");
        let mut constrain = |value: &str, condition: AttrMatch| {
            let selector = deny.selector.as_mut().unwrap();
            selector.constraints = vec![AttrConstraint {
                key: "a".to_owned(),
                value: value.to_owned(),
                condition: condition.into(),
            }];
            applied(vec![deny.clone()], "x://y")
        };
        assert!(constrain("b", AttrMatch::Equal).is_err());
        assert!(constrain("b", AttrMatch::Notequal).is_ok());
        assert!(constrain("^b$", AttrMatch::Matches).is_err());
        assert!(constrain("c", AttrMatch::Matches).is_ok());
        assert!(matches!(
            constrain("(", AttrMatch::Matches),
            Err(SolveError::Invalid(_))
        ));
    }
}
