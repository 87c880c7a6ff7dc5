//! The parts of an address and how the tables describe them.

use std::borrow::Cow;

/// A request's address as the tables see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address<'a> {
    /// The canonical host name.
    pub(crate) host: &'a str,
    /// The canonical path.
    pub(crate) path: &'a str,
    /// The query as sent.
    pub(crate) query: Option<&'a str>,
}

/// Which hosts an entry of a table is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Hosts {
    /// This domain and its subdomains.
    Within(&'static str),
    /// This host alone.
    Exactly(&'static str),
    /// This name under every public suffix that looks like a country's (`google.co.uk`, `google.de`), with
    /// subdomains.
    Brand(&'static str),
}

impl Hosts {
    /// A label that all of these hosts have: the longest, which few others have.
    pub(crate) fn label(&self) -> &'static str {
        let (Self::Within(name) | Self::Exactly(name) | Self::Brand(name)) = self;
        name.split('.').max_by_key(|label| label.len()).unwrap_or(name)
    }

    pub(crate) fn contain(&self, host: &str) -> bool {
        match self {
            Self::Within(domain) => {
                host.strip_suffix(domain).is_some_and(|front| front.is_empty() || front.ends_with('.'))
            }
            Self::Exactly(name) => host == *name,
            Self::Brand(brand) => is_brand(host, brand),
        }
    }
}

/// Whether the host is `brand.com`, `brand.de`, `brand.co.uk`, `brand.com.au` or one of their subdomains. Names such
/// as `brand.example.com` are somebody else's.
fn is_brand(host: &str, brand: &str) -> bool {
    let mut labels = host.rsplit('.');
    let (Some(top), Some(second)) = (labels.next(), labels.next()) else { return false };
    if second == brand {
        return top == "com" || top == "cat" || is_country(top);
    }
    matches!(second, "co" | "com") && is_country(top) && labels.next() == Some(brand)
}

fn is_country(label: &str) -> bool {
    label.len() == 2 && label.bytes().all(|byte| byte.is_ascii_lowercase())
}

/// Which paths an entry of a table is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Path {
    /// This path, with or without a slash at its end.
    Exactly(&'static str),
    /// Every path that begins like this.
    Under(&'static str),
    /// Every path that ends like this.
    Ending(&'static str),
}

impl Path {
    pub(crate) fn contains(&self, path: &str) -> bool {
        match self {
            Self::Exactly(exact) => path == *exact || path.strip_suffix('/') == Some(exact),
            Self::Under(start) => path.starts_with(start),
            Self::Ending(end) => path.ends_with(end),
        }
    }
}

/// The decoded value of a query's first parameter of this name.
pub(crate) fn parameter<'a>(query: Option<&'a str>, name: &str) -> Option<Cow<'a, str>> {
    form_urlencoded::parse(query?.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value)
}

/// The words in the segment that follows `start`, decoded. Hyphens stand for spaces there, as do plus signs.
pub(crate) fn path_words(path: &str, start: &str) -> Option<String> {
    let segment = path.strip_prefix(start)?.split('/').next()?;
    // An equals sign or ampersand is not special in a path; `=` before it all makes it the value of a pair.
    let pair = format!("={}", segment.replace('&', "%26"));
    let (_, words) = form_urlencoded::parse(pair.as_bytes()).next()?;
    Some(words.replace('-', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brands() {
        for (host, expected) in [
            ("google.com", true),
            ("www.google.de", true),
            ("images.google.co.uk", true),
            ("www.google.com.au", true),
            ("google.cat", true),
            ("google.example.com", false),
            ("notgoogle.com", false),
            ("google.com.evil.example", false),
            ("google.shop", false),
            ("google", false),
        ] {
            assert_eq!(Hosts::Brand("google").contain(host), expected, "{host}");
        }
    }
}
