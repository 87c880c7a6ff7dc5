//! The chat assistants, and where what a person writes to them goes.

use crate::address::{Address, Hosts, Path};
use Hosts::{Exactly, Within};
use Path::{Ending, Under};

/// Whether the body of a POST to this address is what a person wrote to an assistant.
pub(crate) fn is_prompt(address: &Address<'_>) -> bool {
    PROMPTS.iter().any(|(hosts, path)| hosts.contain(address.host) && path.contains(address.path))
        || ANY_HOST.iter().any(|path| path.contains(address.path))
}

/// The interface that most assistants copy, on whatever host.
const ANY_HOST: &[Path] = &[Ending("/chat/completions"), Ending("/v1/completions")];

/// Where prompts go. Assistants that talk over WebSockets (Copilot, Character.AI) are here with the requests that
/// begin a conversation.
const PROMPTS: &[(Hosts, Path)] = &[
    // ChatGPT
    (Within("chatgpt.com"), Under("/backend-api/conversation")),
    (Within("chatgpt.com"), Under("/backend-api/f/conversation")),
    (Within("chatgpt.com"), Under("/backend-anon/conversation")),
    (Within("chatgpt.com"), Under("/backend-anon/f/conversation")),
    (Exactly("chat.openai.com"), Under("/backend-api/conversation")),
    (Exactly("api.openai.com"), Under("/v1/responses")),
    // Copilot
    (Exactly("copilot.microsoft.com"), Under("/c/api/")),
    (Within("bing.com"), Under("/turing/")),
    (Within("githubcopilot.com"), Under("/github/chat/")),
    // Gemini
    (Exactly("gemini.google.com"), Ending("/StreamGenerate")),
    (Within("googleapis.com"), Ending(":generateContent")),
    (Within("googleapis.com"), Ending(":streamGenerateContent")),
    // Claude
    (Within("claude.ai"), Ending("/completion")),
    (Within("claude.ai"), Ending("/retry_completion")),
    (Exactly("api.anthropic.com"), Under("/v1/messages")),
    // Perplexity
    (Within("perplexity.ai"), Under("/rest/sse/perplexity_ask")),
    // Grok
    (Within("grok.com"), Under("/rest/app-chat/")),
    (Exactly("x.com"), Under("/i/api/2/grok/")),
    (Exactly("grok.x.com"), Under("/2/grok/")),
    // Meta AI
    (Within("meta.ai"), Under("/api/graphql")),
    (Within("meta.ai"), Under("/graphql")),
    // Character.AI
    (Within("character.ai"), Under("/chat/")),
    // DeepSeek
    (Exactly("chat.deepseek.com"), Ending("/chat/completion")),
    // Mistral
    (Exactly("chat.mistral.ai"), Under("/api/chat")),
    (Exactly("chat.mistral.ai"), Under("/api/trpc/message.")),
    // Others
    (Within("poe.com"), Under("/api/gql_POST")),
    (Within("pi.ai"), Under("/api/chat")),
    (Within("duckduckgo.com"), Under("/duckchat/v1/chat")),
    (Exactly("duck.ai"), Under("/duckchat/v1/chat")),
    (Exactly("huggingface.co"), Under("/chat/conversation/")),
    (Within("doubao.com"), Ending("/chat/completion")),
];
