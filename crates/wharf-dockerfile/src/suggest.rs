//! What was probably meant by a word that is none (BuildKit's `util/suggest`).

/// The word of `known` that is at most two letters away from `word`.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let near = known
        .iter()
        .map(|one| (distance(word, one), *one))
        .filter(|(distance, _)| *distance <= 2);
    near.min_by_key(|(distance, _)| *distance)
        .map(|(_, one)| one)
}

/// How it is asked.
pub(crate) fn question(meant: &str) -> String {
    format!(" (did you mean {meant}?)")
}

/// How many letters have to be put in, taken out or replaced (Levenshtein).
pub fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.chars().enumerate() {
            let replaced = corner + usize::from(x != y);
            corner = row[j + 1];
            row[j + 1] = replaced.min(corner + 1).min(row[j] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_letters() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
