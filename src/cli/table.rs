//! Tables of a TOML file: their keys, what each sets, and what is said of a wrong one.
//!
//! Which tables there are is known to `app_table` and `key_table`.

use toml::{Table, Value};

/// A key of a table, and what its value sets. A fault is the remedy.
pub struct Key<T> {
    pub name: &'static str,
    set: fn(&mut T, &Value) -> Result<(), String>,
}

/// A key of a table.
pub const fn key<T>(name: &'static str, set: fn(&mut T, &Value) -> Result<(), String>) -> Key<T> {
    Key { name, set }
}

/// Sets what the table says.
pub fn set_all<T>(to: &mut T, table: &Table, keys: &[Key<T>]) -> Result<(), String> {
    for (name, value) in table {
        let Some(key) = keys.iter().find(|key| key.name == name) else {
            let names: Vec<_> = keys.iter().map(|key| key.name).collect();
            return Err(format!("no key is called {name:?}; {}", nearest(name, &names)));
        };
        (key.set)(to, value).map_err(|remedy| format!("{name}: {remedy}"))?;
    }
    Ok(())
}

/// Text, such as a name.
pub fn text(value: &Value) -> Result<String, String> {
    value.as_str().map(str::to_owned).ok_or_else(|| "give text in quotes".into())
}

/// True or false.
pub fn truth(value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| "give true or false".into())
}

/// A list, or one value instead of it.
pub fn list<T>(value: &Value, of: fn(&Value) -> Result<T, String>) -> Result<Vec<T>, String> {
    match value {
        Value::Array(values) => values.iter().map(of).collect(),
        value => Ok(vec![of(value)?]),
    }
}

/// The name that is written most like the wrong one, and all that there are.
pub fn nearest(wrong: &str, names: &[&str]) -> String {
    let nearest = names.iter().min_by_key(|name| distance(wrong, name)).copied().unwrap_or_default();
    format!("the nearest is {nearest:?} of {}", names.join(", "))
}

/// How many characters have to be inserted, removed or replaced to make `b` of `a` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (at, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (column, to) in b.chars().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[b.chars().count()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_of_two_words_counts_the_characters_to_change() {
        for (a, b, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("é", "e", 1),
            ("ab", "ba", 2),
        ] {
            assert_eq!((distance(a, b), distance(b, a)), (expected, expected), "{a} {b}");
        }
    }
}
