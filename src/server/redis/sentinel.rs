//! What a Sentinel says of the masters that it watches.
//!
//! Whether a server is the master that it is said to be, that server is asked itself.

use super::greeting::Unfit;
use super::place::Place;
use super::resp::Reply;

/// Reads the answer to `SENTINEL GET-MASTER-ADDR-BY-NAME`.
///
/// # Errors
/// It watches none of this name, or refuses.
pub fn read_master(reply: &Reply, name: &str) -> Result<Place, Unfit> {
    match reply {
        Reply::List(parts) => {
            let host = parts.first().and_then(Reply::as_text).and_then(|host| str::from_utf8(host).ok());
            let port = parts.get(1).and_then(Reply::as_number).and_then(|port| u16::try_from(port).ok());
            match (host, port) {
                (Some(host), Some(port)) => Ok(Place::Tcp(host.into(), port)),
                _ => Err(Unfit::ForNow("it does not say who the master is".into())),
            }
        }
        Reply::Nil => Err(Unfit::ForGood(format!(
            "it is a Sentinel that watches no master {name:?}. Give the name that its configuration has, as ?master=NAME"
        ))),
        other => Err(refused(other)),
    }
}

/// Reads the answer to `SENTINEL MASTERS`: the name of the only master.
///
/// # Errors
/// It watches none or several, or refuses.
pub fn read_only_name(reply: &Reply) -> Result<Box<str>, Unfit> {
    let Reply::List(masters) = reply else { return Err(refused(reply)) };
    let name_of = |master: &Reply| {
        let name = master.field(b"name")?.as_text()?;
        Some(String::from_utf8_lossy(name).into_owned())
    };
    let names: Vec<_> = masters.iter().filter_map(name_of).collect();
    match &names[..] {
        [name] => Ok(name.as_str().into()),
        [] => Err(Unfit::ForNow("it is a Sentinel that watches no master".into())),
        names => Err(Unfit::ForGood(format!(
            "it is a Sentinel that watches several masters: say which as ?master=NAME, one of {}",
            names.join(", ")
        ))),
    }
}

fn refused(reply: &Reply) -> Unfit {
    match reply {
        Reply::Error(error) => {
            Unfit::ForNow(format!("it refuses to say: {}", String::from_utf8_lossy(error)))
        }
        _ => Unfit::ForNow("it does not answer as a Sentinel does".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &'static str) -> Reply {
        Reply::Text(text.into())
    }

    fn master(name: &'static str) -> Reply {
        Reply::Map(vec![(text("name"), text(name)), (text("port"), text("6379"))])
    }

    #[test]
    fn the_master_is_where_a_sentinel_says() {
        let reply = Reply::List(vec![text("127.0.0.1"), text("6379")]);
        assert_eq!(read_master(&reply, "m"), Ok(Place::Tcp("127.0.0.1".into(), 6379)));
        let Err(Unfit::ForGood(sentence)) = read_master(&Reply::Nil, "m") else { panic!() };
        assert!(sentence.contains("\"m\""), "{sentence}");
        assert!(matches!(read_master(&Reply::Error("NOPERM".into()), "m"), Err(Unfit::ForNow(_))));
    }

    #[test]
    fn a_master_without_a_name_is_found_if_it_is_the_only_one() {
        assert_eq!(read_only_name(&Reply::List(vec![master("m")])), Ok("m".into()));
        let Err(Unfit::ForGood(sentence)) = read_only_name(&Reply::List(vec![master("a"), master("b")]))
        else {
            panic!()
        };
        assert!(sentence.ends_with("one of a, b"), "{sentence}");
        assert!(matches!(read_only_name(&Reply::List(vec![])), Err(Unfit::ForNow(_))));
    }
}
