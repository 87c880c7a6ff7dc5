//! What the policy says about a theme, for the messages: why it matters and where there is help.

use std::fmt;
use std::sync::Arc;

use wardgate_core::{CategoryName, Decision, RuleRef, Ruleset, ThemeName, Verdict, Wording};

/// Looks up the policy's words about a category and its theme. Cheap to clone.
#[derive(Clone)]
pub struct Guidance(Arc<Lookup>);

type Lookup = dyn Fn(&CategoryName, &ThemeName) -> Wording + Send + Sync;

impl Guidance {
    /// Asks the policy in force, as `current` returns it, each time.
    pub fn new(current: impl Fn() -> Arc<Ruleset> + Send + Sync + 'static) -> Self {
        Self(Arc::new(move |category, theme| current().policy.wording(Some(&about(category, theme)))))
    }

    pub(crate) fn of(&self, category: &CategoryName, theme: &ThemeName) -> Wording {
        (self.0)(category, theme)
    }

    #[cfg(test)]
    pub(crate) fn fixed(wording: Wording) -> Self {
        Self(Arc::new(move |_, _| wording.clone()))
    }
}

impl fmt::Debug for Guidance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guidance(..)")
    }
}

/// The policy words its pages by decision, so it is asked about one.
fn about(category: &CategoryName, theme: &ThemeName) -> Decision {
    Decision {
        verdict: Verdict::Block,
        route: None,
        rule: RuleRef { name: "<alert>".into(), file: "".into(), line: 0 },
        category: Some(category.clone()),
        theme: Some(theme.clone()),
        spared: None,
        concerns: Vec::new(),
    }
}
