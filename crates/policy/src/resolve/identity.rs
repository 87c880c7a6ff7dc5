//! `identity.toml`: who must log in, and who is known by address.

use std::net::IpAddr;

use wardgate_core::UserName;

use super::Resolver;
use super::values::range;
use crate::policy::Identity;
use crate::raw;
use crate::source::Entry;

impl<'a> Resolver<'a> {
    pub(super) fn identity(&mut self) -> Identity {
        let Some(mut document) = self.optional("identity.toml") else { return Identity::default() };
        let source = document.source;
        let ranges: Vec<Entry<raw::LoginRange>> = document.tables("range", &mut self.problems);
        let users: Vec<Entry<raw::AddressUser>> = document.tables("address", &mut self.problems);
        let head: raw::Identity = document.head(&mut self.problems).unwrap_or_default();
        let mut identity = Identity { login: head.login, off_site: head.off_site.0, ..Identity::default() };
        for Entry { value, .. } in &ranges {
            if value.addresses.get_ref().is_empty() {
                self.problems.push(source.error(value.addresses.span(), "`addresses` is empty"));
            }
            for addresses in value.addresses.get_ref() {
                let range = range(source, addresses, &mut self.problems);
                identity.ranges.extend(range.map(|range| (range, value.login)));
            }
        }
        for Entry { value, .. } in &users {
            let Ok(address) = value.address.get_ref().parse::<IpAddr>() else {
                let message = format!("`{}` is not an address", value.address.get_ref());
                self.problems.push(source.error(value.address.span(), message));
                continue;
            };
            let user = UserName::new(self.said(source, "user", &value.user));
            if identity.users.insert(address.to_canonical(), user).is_some() {
                let message = format!("`{address}` is mapped twice");
                self.problems.push(source.error(value.address.span(), message));
            }
        }
        identity
    }
}
