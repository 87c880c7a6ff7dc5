//! From files to a compiled policy: reads what was written, resolves names, and reports every mistake with its place.

mod categories;
pub(crate) mod certificates;
mod expectations;
mod groups;
mod hosts;
mod identity;
mod lists;
mod names;
mod rules;
mod shadow;
mod values;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use wardgate_core::{Diagnostic, RuleRef, Severity};

use self::names::Names;
use crate::directory::Directory;
use crate::policy::{BuiltIn, Policy, Words};
use crate::source::{Document, Source, suggesting};
use crate::{Loaded, raw};

/// The files at the top of a policy directory. Anything else that ends in `.toml` there is a slip.
const FILES: [&str; 10] = [
    "policy.toml",
    "groups.toml",
    "identity.toml",
    "categories.toml",
    "lists.toml",
    "rules.toml",
    "never-intercept.toml",
    "must-work.toml",
    "help.toml",
    "certificates.toml",
];

/// Compiles the files of a directory. Fails with everything that is wrong, warnings included.
pub(crate) fn compile(directory: &Directory) -> Result<Loaded, Vec<Diagnostic>> {
    let mut resolver = Resolver { directory, problems: Vec::new() };
    let loaded = resolver.compile();
    let mut problems = resolver.problems;
    problems.sort_by(|a, b| (&a.file, a.position).cmp(&(&b.file, b.position)));
    for problem in &mut problems {
        problem.file = directory.absolute(&problem.file);
    }
    match loaded {
        Some(loaded) if problems.iter().all(|problem| problem.severity == Severity::Warning) => {
            Ok(Loaded { warnings: problems, ..loaded })
        }
        _ => Err(problems),
    }
}

/// The work in hand: what is read, and what was found to be wrong with it.
pub(crate) struct Resolver<'a> {
    directory: &'a Directory,
    problems: Vec<Diagnostic>,
}

impl<'a> Resolver<'a> {
    /// Resolves one file after the other, later ones in terms of earlier ones. Nothing comes out only where a file
    /// could not be read at all; smaller mistakes are reported and the rest goes on.
    fn compile(&mut self) -> Option<Loaded> {
        self.unknown_files();
        let school = self.school();
        let groups = self.groups(school.as_ref().map(|(source, school)| (*source, &school.defaults)));
        let categories = self.categories(groups.as_ref().map(|groups| &groups.names));
        let help = self.help(categories.as_ref().map(|categories| &categories.theme_names));
        let never_intercept = self.never_intercept();
        let must_work = self.must_work();
        let certificate_exceptions = self.certificates();
        let identity = self.identity();
        let (Some(groups), Some(mut categories), Some(mut help), Some((source, school))) =
            (groups, categories, help, school)
        else {
            self.surely_wrong();
            return None;
        };
        for (theme, lines) in categories.compiled.themes.iter_mut().zip(help.by_theme) {
            theme.help = lines;
        }
        let lists = self.lists(&categories);
        let rules = self.rules(&rules::Known {
            groups: &groups,
            categories: &categories,
            lists: &lists,
            help: &help.hosts,
        })?;
        let expectations = self.expectations(&groups, &categories);
        let mut unread_hosts = never_intercept.unread;
        unread_hosts.append(&mut help.unread);
        let policy = Policy {
            hash: self.directory.hash(),
            words: Words {
                organisation: self.said(source, "organisation", &school.organisation),
                contact: self.said(source, "contact", &school.contact),
                notice: self.said(source, "notice", &school.notice),
                help: help.default,
            },
            groups: groups.compiled,
            identity,
            categories: categories.compiled,
            rules,
            help: help.hosts,
            must_work,
            never_intercept: never_intercept.hosts,
            unread_hosts,
            certificate_exceptions,
            built_in: BuiltIn::new(),
        };
        Some(Loaded {
            policy: Arc::new(policy),
            lists: lists.sources,
            phrase_files: self.phrase_files(),
            expectations,
            warnings: Vec::new(),
        })
    }

    /// A policy that does not come to be has a reason; this is the net below the resolvers.
    fn surely_wrong(&mut self) {
        if !self.problems.iter().any(|problem| problem.severity == Severity::Error) {
            self.problems.push(Diagnostic::error("policy.toml", None, "the policy is incomplete"));
        }
    }

    fn unknown_files(&mut self) {
        let at_top = self.directory.paths().filter(|path| !path.contains('/') && path.ends_with(".toml"));
        for file in at_top.filter(|file| !FILES.contains(file)) {
            let warning = Diagnostic::warning(file, None, "no such file belongs to a policy; it is not read");
            self.problems.push(suggesting(warning, file, FILES.into_iter()));
        }
    }

    fn school(&mut self) -> Option<(Source<'a>, raw::School)> {
        let document = self.required("policy.toml")?;
        let source = document.source;
        Some((source, document.head(&mut self.problems)?))
    }

    /// The text of a file, where it exists and can be read.
    fn source(&mut self, file: &'a str) -> Option<Source<'a>> {
        match self.directory.text(file)? {
            Ok(text) => Some(Source { file, text }),
            Err(problem) => {
                self.problems.push(problem);
                None
            }
        }
    }

    /// A file that a policy can do without.
    fn optional(&mut self, file: &'a str) -> Option<Document<'a>> {
        let source = self.source(file)?;
        Document::parse(source, &mut self.problems)
    }

    /// A file that a policy cannot do without.
    fn required(&mut self, file: &'a str) -> Option<Document<'a>> {
        if !self.directory.contains(file) {
            self.problems.push(Diagnostic::error(file, None, "the file is missing"));
        }
        self.optional(file)
    }

    /// A file that holds nothing but `[[key]]`.
    fn only_tables<T: DeserializeOwned>(
        &mut self,
        mut document: Document<'a>,
        key: &'static str,
    ) -> Vec<crate::source::Entry<T>> {
        let entries = document.tables(key, &mut self.problems);
        // The answer has no content; what is wrong with the head has been reported.
        let _: Option<raw::Nothing> = document.head(&mut self.problems);
        entries
    }

    /// Reports that something is missing, unless mistakes reported since `before` may be why.
    fn unless_reported(&mut self, before: usize, problem: Diagnostic) {
        if self.problems.len() == before {
            self.problems.push(problem);
        }
    }

    /// A text for people, which must say something.
    fn said(&mut self, source: Source<'_>, key: &str, text: &raw::Text) -> Arc<str> {
        let said = text.get_ref().trim();
        if said.is_empty() {
            self.problems.push(source.error(text.span(), format!("`{key}` says nothing")));
        }
        said.into()
    }
}

/// Names a place in a file for decisions and the access log.
fn rule_ref(source: Source<'_>, name: &str, span: Range<usize>) -> RuleRef {
    RuleRef { name: name.into(), file: source.file.into(), line: source.position(span).line }
}

/// Appends an id to what is known under a key.
fn append<K: Eq + std::hash::Hash, V>(map: &mut HashMap<K, Vec<V>>, key: K, value: V) {
    map.entry(key).or_default().push(value);
}

#[cfg(test)]
mod tests {
    use crate::fixture::compile;

    /// What is said about the small policy with one file replaced.
    fn said(file: &str, text: &str) -> String {
        let problems = match compile(&[(file, text)]) {
            Ok(loaded) => loaded.warnings,
            Err(problems) => problems,
        };
        problems.iter().map(|problem| format!("{problem}\n")).collect()
    }

    /// Golden diagnostics: a file, what stands in it, what is said about it.
    fn check(cases: &[(&str, &str, &str, &str)]) {
        for (name, file, text, expected) in cases {
            assert_eq!(said(file, text).trim_end(), *expected, "{name}");
        }
    }

    #[test]
    fn the_fixture_is_sound() {
        assert_eq!(said("tests/none.toml", ""), "");
    }

    #[test]
    fn all_mistakes_of_a_file_are_said_at_once() {
        let rules = r#"
[[rule]]
name = "a"
catgories = ["casino"]
colour = "red"
action = "block"

[[rule]]
name = "b"
categories = ["cassino", "games"]
groups = ["larners"]
action = "block"

[[rule]]
name = "c"
lists = ["casino"]
action = "blok"

[[ruel]]
name = "d"
"#;
        let expected = "\
rules.toml:3:1: error: unknown key `catgories`
  help: did you mean `categories`?
rules.toml:4:1: error: unknown key `colour`
  help: known here: `name`, `groups`, `hosts`, `methods`, `ports`, `ports_other_than`, `carries`, `categories`, `themes`, `lists`, `kinds`, `min_score`, `action`, `reason`
rules.toml:9:15: error: unknown category `cassino`
  help: did you mean `casino`?
rules.toml:10:11: error: unknown group `larners`
  help: did you mean `learners`?
rules.toml:16:10: error: unknown value `blok`
  help: did you mean `block`?
rules.toml:18:3: error: unknown key `ruel`
  help: did you mean `rule`?
";
        assert_eq!(said("rules.toml", rules), expected);
    }

    #[test]
    fn mistakes_in_rules() {
        let rule = |text: &str| format!("[[rule]]\nname = \"a\"\n{text}\n");
        let cases = [
            (
                "an empty condition",
                rule("groups = []\naction = \"allow\""),
                "\
rules.toml:3:10: error: `groups` is empty: the rule can never match
  help: leave the key out where it does not matter",
            ),
            (
                "nothing to read for the person",
                rule("hosts = [\"a.example\"]\naction = \"block\""),
                "\
rules.toml:2:8: error: a rule that is not about findings needs a `reason`
  help: say in plain words why, for the person whose page is not shown",
            ),
            (
                "a list of another category",
                rule("lists = [\"casinos\"]\ncategories = [\"games\"]\naction = \"block\""),
                "\
rules.toml:1:1: error: the rule `a` can never match
  help: none of its lists is of its categories",
            ),
            (
                "a list in a text",
                rule("lists = [\"casinos\"]\nkinds = [\"page\"]\naction = \"block\""),
                "\
rules.toml:1:1: error: the rule `a` can never match
  help: lists are about addresses: leave `kinds` out",
            ),
            (
                "a help site",
                rule("hosts = [\"www.samaritans.org\"]\naction = \"allow\""),
                "\
rules.toml:1:1: warning: the rule `a` can never match
  help: its hosts are help sites, which are always allowed",
            ),
            (
                "a wildcard",
                rule("hosts = [\"*.a.example\"]\naction = \"allow\""),
                "\
rules.toml:3:10: error: `*.a.example` is not a host
  help: write `a.example`: its subdomains are meant too",
            ),
            (
                "a wildcard in the middle",
                rule("hosts = [\"a.*.example\"]\naction = \"allow\""),
                "\
rules.toml:3:10: error: `a.*.example` is not a host
  help: an asterisk stands for nothing here: name each host itself",
            ),
            (
                "a URL",
                rule("hosts = [\"https://a.example/\"]\naction = \"allow\""),
                "\
rules.toml:3:10: error: `https://a.example/` is not a host
  help: write a host alone, without scheme, port and path, such as `example.com`",
            ),
            (
                "a method",
                rule("methods = [\"post\"]\naction = \"allow\""),
                "\
rules.toml:3:12: error: `post` is not a method
  help: write it like `POST`",
            ),
            (
                "a score",
                rule("categories = [\"games\"]\nmin_score = -1\naction = \"allow\""),
                "\
rules.toml:4:13: error: a score is more than 0 and at most 10000",
            ),
            (
                "a port",
                rule("ports = [70000]\naction = \"allow\""),
                "\
rules.toml:3:10: error: invalid value: integer `70000`, expected u16",
            ),
            (
                "ports that exclude each other",
                rule("ports = [80]\nports_other_than = [80, 443]\naction = \"allow\""),
                "\
rules.toml:1:1: error: the rule `a` can never match
  help: each of its `ports` stands in `ports_other_than`",
            ),
            (
                "what tunnels carry",
                rule("carries = \"ssh\"\naction = \"allow\""),
                "\
rules.toml:3:11: error: unknown value `ssh`
  help: known here: `other`",
            ),
            (
                "a range",
                rule("hosts = [\"10.0.0.1/8\"]\naction = \"allow\""),
                "\
rules.toml:3:10: error: `10.0.0.1/8` names an address inside the range
  help: did you mean `10.0.0.0/8`, or `10.0.0.1`?",
            ),
            ("a missing key", rule(""), "rules.toml:1:1: error: the key `action` is missing"),
            (
                "not a list of tables",
                "rule = 5\n".to_owned(),
                "\
rules.toml:1:8: error: `rule` is a list of tables: write [[rule]]",
            ),
            (
                "a syntax error",
                "[[rule]\nname = \n".to_owned(),
                "\
rules.toml:1:8: error: unclosed array table, expected `]`",
            ),
        ];
        for (name, text, expected) in cases {
            assert_eq!(said("rules.toml", &text).trim_end(), expected, "{name}");
        }
    }

    #[test]
    fn shadowed_rules() {
        let two = |first: &str, second: &str| {
            format!(
                "[[rule]]\nname = \"a\"\n{first}\naction = \"allow\"\n[[rule]]\nname = \"b\"\n{second}\naction = \"allow\"\n"
            )
        };
        for (name, first, second, shadowed) in [
            ("no condition", "", "groups = [\"staff\"]", true),
            ("the same", "categories = [\"games\"]", "categories = [\"games\"]", true),
            ("a theme and a category of it", "themes = [\"gambling\"]", "categories = [\"casino\"]", true),
            ("a category and its theme", "categories = [\"casino\"]", "themes = [\"gambling\"]", false),
            ("a group and its heir", "groups = [\"learners\"]", "groups = [\"adults\"]", true),
            ("an heir and its group", "groups = [\"adults\"]", "groups = [\"learners\"]", false),
            ("a domain and a host in it", "hosts = [\"a.example\"]", "hosts = [\"www.a.example\"]", true),
            ("a category and a list of it", "categories = [\"casino\"]", "lists = [\"casinos\"]", true),
            ("a finding, and any exchange", "categories = [\"casino\"]", "groups = [\"staff\"]", false),
            (
                "a lower score",
                "categories = [\"games\"]\nmin_score = 10",
                "categories = [\"games\"]\nmin_score = 20",
                true,
            ),
            (
                "a higher score",
                "categories = [\"games\"]\nmin_score = 30",
                "categories = [\"games\"]\nmin_score = 20",
                false,
            ),
            ("a kind", "kinds = [\"page\"]", "kinds = [\"page\", \"post\"]", false),
            ("a range and an address in it", "hosts = [\"10.0.0.0/8\"]", "hosts = [\"10.1.2.3\"]", true),
            ("fewer ports left out", "ports_other_than = [80]", "ports_other_than = [80, 443]", true),
            ("more ports left out", "ports_other_than = [80, 443]", "ports_other_than = [80]", false),
            ("any page, and what else tunnels carry", "", "carries = \"other\"", false),
        ] {
            let said = said("rules.toml", &two(first, second));
            let expected = if shadowed { "warning: the rule `b` can never match" } else { "" };
            assert!(said.contains(expected) && said.is_empty() != shadowed, "{name}: {said}");
        }
    }

    #[test]
    fn mistakes_in_groups() {
        let more = |text: &str| format!("unknown = \"staff\"\n[[group]]\nname = \"staff\"\n{text}\n");
        let rules = "[[rule]]\nname = \"a\"\naction = \"allow\"\n";
        let themes = "[[category]]\nname = \"casino\"\ntitle = \"C\"\nseverity = 1\nreason = \"R\"\nrationale = \"R\"\n";
        let help = "default = []\n[[line]]\nname = \"A\"\ndetail = \"1\"\nurl = \"https://a.example/\"\nhosts = [\"a.example\"]\n";
        let cases = [
            (
                "an unknown group for the unknown",
                "unknown = \"stuff\"\n[[group]]\nname = \"staff\"\n".to_owned(),
                "\
groups.toml:1:11: error: unknown group `stuff`
  help: did you mean `staff`?",
            ),
            (
                "the same name twice",
                more("[[group]]\nname = \"staff\""),
                "\
groups.toml:5:8: error: the group `staff` is defined twice",
            ),
            (
                "a name that is not plain",
                more("[[group]]\nname = \"Key Stage 3\""),
                "\
groups.toml:5:8: error: `Key Stage 3` is not a plain name
  help: use lower-case letters, digits and hyphens",
            ),
            (
                "a circle",
                more("inherits = \"b\"\n[[group]]\nname = \"b\"\ninherits = \"staff\""),
                "\
groups.toml:2:1: error: the group `staff` inherits from itself
  help: the circle is staff -> b -> staff",
            ),
            (
                "a range",
                more("addresses = [\"10.0.0.1/8\", \"ten\"]"),
                "\
groups.toml:4:14: error: `10.0.0.1/8` names an address inside the range
  help: did you mean `10.0.0.0/8`, or `10.0.0.1`?
groups.toml:4:28: error: `ten` is not a range of addresses
  help: write it like `10.2.0.0/16` or `10.2.3.4`",
            ),
            (
                "settings",
                more("settings = { hold = \"64 GB\", warn_for = \"2 days\", on_eror = \"block\" }"),
                "\
groups.toml:4:21: error: `64 GB` is not a size up to 4 MiB
  help: write it like `64 KiB`
groups.toml:4:41: error: `2 days` is not a duration up to 24 h
  help: write it like `30 min`
groups.toml:4:51: error: unknown key `on_eror`
  help: did you mean `on_error`?",
            ),
        ];
        for (name, text, expected) in cases {
            let changes = [
                ("groups.toml", text.as_str()),
                ("rules.toml", rules),
                ("categories.toml", themes),
                ("help.toml", help),
            ];
            let problems = compile(&changes).err().unwrap_or_default();
            let said: String = problems.iter().map(|problem| format!("{problem}\n")).collect();
            assert_eq!(said.trim_end(), expected, "{name}");
        }
    }

    #[test]
    fn mistakes_elsewhere() {
        let list = "[[list]]\nname = \"casinos\"\ncategory = \"casino\"\nformat = \"domains\"\n";
        check(&[
            (
                "an empty list",
                "lists/casinos.txt",
                "# nothing yet\n",
                "\
lists.toml:4:8: warning: the list `lists/casinos.txt` is empty",
            ),
            (
                "a list that nobody names",
                "lists/other.txt",
                "a.example\n",
                "\
lists/other.txt: warning: no [[list]] of lists.toml names this file",
            ),
            (
                "a missing list",
                "lists.toml",
                &format!("{list}file = \"lists/casino.txt\"\n"),
                "\
lists/casinos.txt: warning: no [[list]] of lists.toml names this file
lists.toml:5:8: error: there is no file `lists/casino.txt`
  help: did you mean `lists/casinos.txt`?",
            ),
            (
                "a list outside",
                "lists.toml",
                &format!("{list}file = \"../../etc/passwd\"\n"),
                "\
lists/casinos.txt: warning: no [[list]] of lists.toml names this file
lists.toml:5:8: error: there is no file `../../etc/passwd`
  help: known here: `lists/casinos.txt`",
            ),
            (
                "a file that nobody reads",
                "rule.toml",
                "",
                "\
rule.toml: warning: no such file belongs to a policy; it is not read
  help: did you mean `rules.toml`?",
            ),
            (
                "a help line that cannot be reached",
                "help.toml",
                "\
default = [\"Samaritan\"]
[[line]]
name = \"Samaritans\"
detail = \" \"
url = \"https://samaritans.example/\"
hosts = [\"samaritans.org\", \"co.uk\"]
",
                "\
help.toml:1:12: error: unknown help line `Samaritan`
  help: did you mean `Samaritans`?
help.toml:4:10: error: `detail` says nothing
help.toml:5:7: error: `samaritans.example` is not among the `hosts` of help lines
  help: name it there, so that the address is always reachable
help.toml:6:28: error: `co.uk` is a whole registry of names
  help: name the hosts that are meant",
            ),
            (
                "expectations",
                "tests/a.toml",
                "\
[[expect]]
group = \"learner\"
url = \"https://\"
verdict = \"block\"
category = \"casio\"
why = \"\"
[[expect]]
group = \"learner\"
url = \"https://\"
kind = \"post\"
verdict = \"block\"
why = \"because\"
",
                "\
tests/a.toml:2:9: error: unknown group `learner`
  help: did you mean `learners`?
tests/a.toml:5:12: error: unknown category `casio`
  help: did you mean `casino`?
tests/a.toml:8:9: error: unknown group `learner`
  help: did you mean `learners`?
tests/a.toml:9:7: error: the host is not a valid name or address",
            ),
            (
                "identity",
                "identity.toml",
                "\
login = \"always\"
[[range]]
addresses = []
login = \"required\"
[[address]]
address = \"10.0.0\"
user = \"a\"
",
                "\
identity.toml:1:9: error: unknown value `always`
  help: known here: `optional`, `required`
identity.toml:3:13: error: `addresses` is empty
identity.toml:6:11: error: `10.0.0` is not an address",
            ),
        ]);
    }

    #[test]
    fn files_that_a_policy_needs() {
        let problems = super::compile(&crate::directory::Directory::of(Default::default())).err().unwrap();
        let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let missing = ["categories", "groups", "help", "policy"];
        assert_eq!(said, missing.map(|file| format!("{file}.toml: error: the file is missing")));
    }
}
