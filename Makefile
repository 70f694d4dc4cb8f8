# make up      the whole system on this machine, on an embedded AWS
# make test    every test that fits into ten minutes
# make help    everything else

PYTHON ?= python3
ENVIRONMENT ?= dev
SHELL := /bin/sh
VENV := .venv/bin/python
.DEFAULT_GOAL := help
.PHONY: help setup up down env logs synth diff bootstrap deployer-policies redrive layer cdktf lint test test-all judges bench scale lock clean

help: ## what there is to make
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/; s/[$$][$$]/$$/' | expand -t 22

setup: ## Python environments, provider bindings and layers; quick when nothing changed
	@PYTHONPATH=. $(PYTHON) tools/setup.py

up: setup ## deploy to the embedded AWS, upload a file, print what to do next; PORT=... for a port of your own
	@$(VENV) -m tools.local up $(if $(PORT),--port $(PORT))

down: setup ## destroy what `up` made, and stop
	@$(VENV) -m tools.local down

env: ## shell lines that lead AWS tools, terraform and cdktf to what `up` made: eval "$$(make -s env)"
	@$(VENV) -m tools.local env

logs: ## what the functions on the embedded AWS wrote
	@$(VENV) -m tools.local logs

synth: setup ## Terraform JSON of ENVIRONMENT in cdktf.out
	@ENVIRONMENT=$(ENVIRONMENT) $(VENV) main.py

bootstrap: setup ## once an AWS account: the bucket of ENVIRONMENT's Terraform state
	@ENVIRONMENT=$(ENVIRONMENT) $(VENV) -m tools.bootstrap

deployer-policies: setup ## IAM policies for whoever deploys ENVIRONMENT
	@ENVIRONMENT=$(ENVIRONMENT) $(VENV) -m tools.deployer

layer: setup ## the layer for LAMBDA_RUNTIME and LAMBDA_ARCHITECTURE
	@$(VENV) -m tools.layers $(LAMBDA_RUNTIME)-$(LAMBDA_ARCHITECTURE)

cdktf: setup node_modules/.package-lock.json ## the cdktf command line, in node_modules/.bin

node_modules/.package-lock.json: package-lock.json
	@npm ci --no-audit --no-fund --loglevel=error
	@touch $@

redrive: setup ## give the dead letters of ENVIRONMENT another chance
	@ENVIRONMENT=$(ENVIRONMENT) $(VENV) -m tools.redrive

lint: setup ## ruff, mypy --strict and the direction of imports
	@$(VENV) -m ruff check .
	@$(VENV) -m ruff format --check .
	@$(VENV) -m mypy
	@.venv/bin/lint-imports

test: setup ## every test that fits into ten minutes
	@$(VENV) -m pytest -m "not slow"

test-all: setup cdktf ## the long ones too
	@$(VENV) -m pytest

judges: setup cdktf ## what checkov, parliament, statelint, asl-validator and terraform-compliance say
	@$(VENV) -m pytest tests/judges

bench: setup ## Sluice beside what a user would pick instead; ONLY=name,... for some; all take about an hour
	@$(VENV) -m tools.bench $(if $(ONLY),--only $(ONLY))

scale: setup ## at which uploads a second AWS quotas give way; ENVIRONMENT=..., WRITE=1 for docs/scale.md
	@$(if $(filter command line environment,$(origin ENVIRONMENT)),ENVIRONMENT=$(ENVIRONMENT)) $(VENV) -m tools.scale $(if $(WRITE),--write)

lock: setup ## resolve the Pipfile into Pipfile.lock
	@$(VENV) -m tools.lock

clean: ## remove what set-up and synthesis made
	@rm -rf .venv .build cdktf.out node_modules
