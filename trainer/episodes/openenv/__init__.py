"""Environments on a server that speaks OpenEnv (openenv-core 0.3.0), by the address a person names.

    websocket   RFC 6455, as much as a client of text messages needs: no package for it is among the dependencies
    arguments   a tool from the JSON schema a server describes it with
    remote      one session an episode: reset, a step for each call, the rewards added up

An OpenEnv server keeps an episode only as long as its WebSocket (/ws): over plain HTTP every request is a new one
(openenv/core/env_server/http_server.py, `reset_handler`). A server with MCP tools is asked for them (tools/list) and
called by `call_tool` steps; of any other the action's schema (/schema) is one tool, `step`.
"""

from __future__ import annotations

from trainer.episodes.openenv.remote import environment

__all__ = ["environment"]
