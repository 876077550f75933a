"""Agents: whom a thread asks, and by which credentials their webhooks are known."""

from __future__ import annotations

from sqlalchemy import bindparam, func, or_, select
from sqlalchemy.orm import Session

from chat.errors import Conflict, Invalid, NotFound
from chat.models import Agent, Tenant, Thread
from chat.text import check_name
from chat.tokens import hash_token, new_token

BY_TOKEN = select(Agent).where(Agent.token_hash == bindparam("hash"))
FEW = 8  # agents whose secrets an unnamed caller's signature is tried against; more would be an attack's lever


def add_agent(session: Session, tenant: Tenant, name: str, url: str) -> tuple[Agent, str]:
    """Make an agent; return it and its bearer token, which is told this once. Raises Conflict if the name is taken."""
    name = check_name(name, "an agent")
    if not url.startswith(("http://", "https://")):
        raise Invalid("url", "an agent's URL must begin with http:// or https://", "url")
    if session.scalar(select(Agent.id).where(Agent.tenant_id == tenant.id, Agent.name == name)):
        raise Conflict("name_taken", f"there is an agent {name} already", "name")
    token = new_token("agent")
    agent = Agent(tenant_id=tenant.id, name=name, url=url, token_hash=hash_token(token))
    session.add(agent)
    session.flush()
    return agent, token


def describe(session: Session, tenant: Tenant, name: str, kind: str, url: str, token: str) -> Agent:
    """Make the agent what the operator's file says it is. Without a `token` it keeps its own, or gets one unknown.

    Raises Conflict if the token is another tenant's.
    """
    agent = session.scalar(select(Agent).where(Agent.tenant_id == tenant.id, Agent.name == name))
    if agent is None:
        agent = Agent(
            tenant_id=tenant.id, name=check_name(name, "an agent"), url=url, token_hash=hash_token(new_token("agent"))
        )
        session.add(agent)
    agent.kind, agent.url = kind, url
    if token:
        give_token(session, agent, token)
    session.flush()
    return agent


def give_token(session: Session, agent: Agent, token: str) -> None:
    """Let the agent be known by this token, and another of its tenant, which was until now, by none that is known.

    So an agent may be renamed, and two may change their tokens. Raises Conflict if the token is another tenant's.
    """
    holder = agent_by_token(session, token)
    if holder is not None and holder is not agent:
        if holder.tenant_id != agent.tenant_id:
            theirs = f"{holder.name} of {session.get_one(Tenant, holder.tenant_id).name}"
            how = "choose another, or give that one a new token with rotate-agent"
            raise Conflict("token_taken", f"the token of {agent.name} is that of {theirs}; {how}")
        rotate_token(session, holder)
        session.flush()  # now: two rows must not hold it even for a moment
    agent.token_hash = hash_token(token)


def with_tenant(session: Session, agent_id: str) -> tuple[Agent, str]:
    """The agent and its tenant's name."""
    agent = session.get_one(Agent, agent_id)
    return agent, session.get_one(Tenant, agent.tenant_id).name


def rotate_token(session: Session, agent: Agent) -> str:
    """Give the agent a new bearer token, told this once; the old one opens nothing from the commit on."""
    token = new_token("agent")
    agent.token_hash = hash_token(token)
    return token


def remove_agent(session: Session, agent: Agent) -> None:
    """Remove an agent that nobody has a thread with. Raises Conflict: what was said to it goes by its owners' hands."""
    threads = session.scalar(select(func.count()).where(Thread.agent_id == agent.id))
    if threads:
        raise Conflict("has_threads", f"there are threads with {agent.name} ({threads}); rotate-agent shuts it out")
    session.delete(agent)


def agent_of(session: Session, tenant_name: str, name: str) -> Agent:
    """Find an agent by its tenant's name and its own. Raises NotFound."""
    query = select(Agent).join(Tenant, Tenant.id == Agent.tenant_id)
    agent = session.scalar(query.where(Tenant.name == tenant_name.strip(), Agent.name == name.strip()))
    if agent is None:
        raise NotFound("unknown_agent", f"there is no agent {name} of {tenant_name}")
    return agent


def agents_of(session: Session, tenant_id: str) -> list[Agent]:
    """The agents of a tenant, by name."""
    return list(session.scalars(select(Agent).where(Agent.tenant_id == tenant_id).order_by(Agent.name)))


def find_agent(session: Session, tenant_id: str, name_or_id: str) -> Agent:
    """Find an agent of the tenant. Raises Invalid, since the caller chose the name."""
    query = select(Agent).where(Agent.tenant_id == tenant_id, or_(Agent.name == name_or_id, Agent.id == name_or_id))
    agent = session.scalar(query)
    if agent is None:
        message = "there is no such agent; name one of your tenant, as its operator called it"
        raise Invalid("unknown_agent", message, "agent")
    return agent


def agent_by_token(session: Session, token: str) -> Agent | None:
    """Which agent holds this bearer token."""
    return session.scalar(BY_TOKEN, {"hash": hash_token(token)})


def agents_who_may_sign(session: Session, thread_id: object, agent_id: str | None) -> list[Agent]:
    """Whose secret a signature may have been made with: a signature does not name its maker.

    The callback URL names the agent, else the thread does; if neither is known, all agents, if they are few.
    """
    if agent_id:
        return list(session.scalars(select(Agent).where(Agent.id == agent_id)))
    query = select(Agent).join(Thread, Thread.agent_id == Agent.id)
    owners = list(session.scalars(query.where(Thread.id == str(thread_id))))
    if owners:
        return owners
    few = list(session.scalars(select(Agent).limit(FEW + 1)))
    return few if len(few) <= FEW else []
