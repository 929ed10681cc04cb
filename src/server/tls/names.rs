//! Which certificates a name stands for: exact names before wildcards, and the first certificate for all others.
//!
//! What a certificate is, and what a client can verify, is not known here: certificates are numbers.

use std::collections::HashMap;

/// The names of certificates, which are numbered from 0 in the order of the configuration.
#[derive(Debug, Default)]
pub struct Names {
    /// In small letters; `*.example.com` as it is. The numbers of each rise.
    by_name: HashMap<String, Vec<usize>>,
}

impl Names {
    /// Of each certificate, the names that it has.
    pub fn new<'a>(certificates: impl Iterator<Item = &'a [String]>) -> Self {
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        for (number, names) in certificates.enumerate() {
            for name in names {
                let numbers = by_name.entry(name.to_ascii_lowercase()).or_default();
                if numbers.last() != Some(&number) {
                    numbers.push(number);
                }
            }
        }
        Self { by_name }
    }

    /// The certificates for a name that a client asks for: those that have it, else those that have a `*` instead of its first
    /// label (RFC 6125 §6.4.3), else the first. Without a name: the first.
    pub fn of(&self, name: Option<&str>) -> &[usize] {
        const FIRST: &[usize] = &[0];
        let Some(name) = name else { return FIRST };
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let wildcard = || name.split_once('.').map(|(_, parent)| format!("*.{parent}"));
        let found = self.by_name.get(&name).or_else(|| self.by_name.get(&wildcard()?));
        found.map_or(FIRST, Vec::as_slice)
    }

    /// Each name with its certificates, in the order of the alphabet.
    pub fn all(&self) -> Vec<(&str, &[usize])> {
        let mut all: Vec<_> =
            self.by_name.iter().map(|(name, numbers)| (name.as_str(), numbers.as_slice())).collect();
        all.sort_unstable();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(certificates: &[&[&str]]) -> Names {
        let owned: Vec<Vec<String>> =
            certificates.iter().map(|names| names.iter().map(|&name| name.to_owned()).collect()).collect();
        Names::new(owned.iter().map(Vec::as_slice))
    }

    #[test]
    fn an_exact_name_goes_before_a_wildcard_whatever_their_order() {
        let names = names(&[&["first.test"], &["*.example.com"], &["www.example.com"]]);
        assert_eq!(names.of(Some("www.example.com")), [2]);
        assert_eq!(names.of(Some("api.example.com")), [1]);
    }

    #[test]
    fn a_wildcard_stands_for_one_label_and_not_for_its_parent() {
        let names = names(&[&["first.test"], &["*.example.com"]]);
        for other in ["example.com", "a.b.example.com", "com", "", ".", "wwwexample.com"] {
            assert_eq!(names.of(Some(other)), [0], "{other}");
        }
        assert_eq!(names.of(Some("x.example.com")), [1]);
    }

    #[test]
    fn a_client_without_a_name_or_with_an_unknown_one_gets_the_first() {
        let names = names(&[&["a.test"], &["b.test"]]);
        assert_eq!(names.of(None), [0]);
        assert_eq!(names.of(Some("c.test")), [0]);
        assert_eq!(names.of(Some("192.0.2.1")), [0]);
    }

    #[test]
    fn letters_and_a_final_dot_make_no_difference() {
        let names = names(&[&["a.test"], &["WWW.Example.com"]]);
        assert_eq!(names.of(Some("www.EXAMPLE.com.")), [1]);
    }

    #[test]
    fn certificates_of_one_name_are_all_found_in_their_order_each_once() {
        let names = names(&[&["x"], &["a.test", "a.test"], &["a.test"]]);
        assert_eq!(names.of(Some("a.test")), [1, 2]);
        assert_eq!(names.all(), [("a.test", [1, 2].as_slice()), ("x", &[0])]);
    }
}
