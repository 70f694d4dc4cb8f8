# make up      the whole system on this machine, on an embedded AWS
# make test    every test that fits into ten minutes
# make help    everything else

PYTHON ?= python3
ENVIRONMENT ?= dev
SHELL := /bin/sh
# cdktf, cdktf-provider-6 or cdktn (docs/upgrading.md). Set-up refuses other values.
CDK ?= cdktf
override CDK := $(value CDK)
export CDK
VENV := $(if $(filter cdktf,$(CDK)),.venv,.build/environments/$(CDK))/bin/python
# Where mypy finds the types of another CDK.
TYPES := $(if $(filter cdktf,$(CDK)),,MYPYPATH=.build/bindings-$(CDK)/current MYPY_CACHE_DIR=.mypy_cache/$(CDK) )
# One worker waits for Terraform and the embedded AWS while the other computes.
WORKERS := --numprocesses 2
JAVASCRIPT := clients/javascript clients/uppy web
# Python ignores the machine's variables for other Pythons, and uses UTF-8. For programs that the tools start, see
# synthesis/child_environment.py.
OF_PYTHON := $(filter-out PYTHON,$(filter PYTHON%,$(.VARIABLES)))
unexport $(OF_PYTHON)
export PYTHONUTF8 := 1
# Neither make nor the shell expands the value of COMPONENT.
ifneq ($(origin COMPONENT),undefined)
override COMPONENT := $(value COMPONENT)
export COMPONENT
OF_COMPONENT := --component="$$COMPONENT"
endif
.DEFAULT_GOAL := help
.PHONY: help setup up upload down env logs synth diff diagram validate plan apply drift bootstrap state-backup state-versions state-restore unlock deployer-policies planner-policies cost release rollback redrive webhook-secret release-hold layer cdktf javascript web picture browser lint check test test-all judges bench scale lock clean

help: ## list all targets; COMPONENT is uploads (the default), state, or an example: inbox, partner-bucket
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/; s/[$$][$$]/$$/' | expand -t 22

setup: .build/web/index.html ## Python environments, provider bindings, layers and the page; quick when nothing changed
	@$(PYTHON) tools/develop/setup.py

up: setup ## deploy to the embedded AWS, upload a file, print what to do next; PORT=... for a port of your own
	@$(VENV) -m tools.develop.local up $(if $(PORT),--port $(PORT))

upload: setup ## send FILE (of any size) with the client to the system of `up`
	@$(VENV) -m tools.develop.local upload "$$FILE"

down: setup ## destroy the system of `up`, and stop
	@$(VENV) -m tools.develop.local down

env: ## shell lines that direct AWS tools, terraform and cdktf to the system of `up`: eval "$$(make -s env)"
	@$(VENV) -m tools.develop.local env $(OF_PYTHON)

logs: ## logs of the functions on the embedded AWS
	@$(VENV) -m tools.develop.local logs

synth: setup ## Terraform JSON of ENVIRONMENT's COMPONENT in cdktf.out
	@ENVIRONMENT=$(ENVIRONMENT) $(VENV) main.py $(if $(OF_COMPONENT),"$$COMPONENT")

diagram: setup cdktf ## docs/architecture*.svg, drawn from the Terraform JSON of every environment
	@$(VENV) -m tools.develop.diagram

validate: setup ## synthesize COMPONENT, and let Terraform check the JSON; needs no account
	@ENVIRONMENT=$(ENVIRONMENT) $(VENV) -m tools.operate.plan validate $(OF_COMPONENT)

plan: setup ## plan of ENVIRONMENT's COMPONENT, its JSON and report in .build/plans; LIMIT=... bytes for the report
	@ENVIRONMENT=$(ENVIRONMENT) $(VENV) -m tools.operate.plan plan $(OF_COMPONENT) $(if $(LIMIT),--limit $(LIMIT))

apply: setup ## apply exactly that plan of COMPONENT; DESTROY="ADDRESS ..." names what may be lost with its data
	@ENVIRONMENT=$(ENVIRONMENT) $(VENV) -m tools.operate.plan apply $(OF_COMPONENT)

drift: setup ## fails with a report if ENVIRONMENT's COMPONENT was changed without Terraform
	@ENVIRONMENT=$(ENVIRONMENT) $(VENV) -m tools.operate.plan drift $(OF_COMPONENT)

bootstrap: setup ## once an environment: the bucket of the Terraform states, which all components share
	@ENVIRONMENT=$(ENVIRONMENT) $(VENV) -m tools.operate.bootstrap $(OF_COMPONENT)

state-backup: setup ## Terraform states of all components, or of COMPONENT, as files in .build/state, or in TO=...
	@ENVIRONMENT=$(ENVIRONMENT) $(VENV) -m tools.operate.state backup $(OF_COMPONENT) $(if $(TO),--to $(TO))

state-versions: setup ## older versions of COMPONENT's state
	@ENVIRONMENT=$(ENVIRONMENT) $(VENV) -m tools.operate.state versions $(OF_COMPONENT)

state-restore: setup ## make VERSION=... or FILE=... the state of COMPONENT again
	@ENVIRONMENT=$(ENVIRONMENT) $(VENV) -m tools.operate.state restore $(OF_COMPONENT) \
		$(if $(VERSION),--version $(VERSION)) $(if $(FILE),--file $(FILE)) $(if $(TO),--to $(TO))

unlock: setup ## locks of the states, with their holders; LOCK=... removes one
	@ENVIRONMENT=$(ENVIRONMENT) $(VENV) -m tools.operate.state unlock $(OF_COMPONENT) $(if $(LOCK),--lock $(LOCK))

deployer-policies: setup ## IAM policies for the role that deploys COMPONENT; REPOSITORY=owner/name for its trust policy
	@ENVIRONMENT=$(ENVIRONMENT) $(VENV) -m tools.operate.policies $(OF_COMPONENT) $(if $(REPOSITORY),--repository $(REPOSITORY))

planner-policies: setup ## IAM policies for a role that only plans COMPONENT; REPOSITORY=owner/name for its trust policy
	@ENVIRONMENT=$(ENVIRONMENT) $(VENV) -m tools.operate.policies --planner $(OF_COMPONENT) $(if $(REPOSITORY),--repository $(REPOSITORY))

layer: setup ## the layer for LAMBDA_RUNTIME and LAMBDA_ARCHITECTURE
	@$(VENV) -m tools.develop.layers $(LAMBDA_RUNTIME)-$(LAMBDA_ARCHITECTURE)

cdktf: setup node_modules/.package-lock.json ## the command lines of cdktf and cdktn, in node_modules/.bin

javascript: $(addsuffix /node_modules/.package-lock.json,$(JAVASCRIPT)) ## packages that build and test the clients and the page in TypeScript

web: .build/web/index.html ## the page that ENABLE_WEBSITE serves, in .build/web; again after a change of its sources

.build/web/index.html: web/node_modules/.package-lock.json $(wildcard web/*.* web/public/* web/src/* clients/javascript/src/* clients/uppy/src/*)
	@env -u NODE_OPTIONS -u NODE_ENV npm run --silent build --prefix web

picture: setup javascript ## docs/page.png, a picture of the page for the README, taken by its test
	@$(VENV) -m pytest tests/e2e/test_page.py -k while_sending
	@cp .build/page/sending-wide-light.png docs/page.png

browser: setup ## a browser for the tests of the page: that of the machine, else one from an npm package
	@$(VENV) -m tools.develop.browser

%/node_modules/.package-lock.json: %/package-lock.json
	@env -u NODE_OPTIONS -u NODE_ENV npm ci --prefix $* --include=dev --no-audit --no-fund --loglevel=error
	@touch $@

node_modules/.package-lock.json: package-lock.json
	@env -u NODE_OPTIONS -u NODE_ENV npm ci --include=dev --no-audit --no-fund --loglevel=error
	@touch $@

release: setup ## where RELEASE_STRATEGY is canary: shift traffic to new versions of functions, and wait
	@ENVIRONMENT=$(ENVIRONMENT) $(VENV) -m tools.operate.releases release

rollback: setup ## functions of the last release back to the version before; FUNCTION=... VERSION=... for one
	@ENVIRONMENT=$(ENVIRONMENT) $(VENV) -m tools.operate.releases rollback $(if $(FUNCTION),--function $(FUNCTION)) $(if $(VERSION),--version $(VERSION))

cost: setup ## the cost of uploads in ENVIRONMENT, by line item; WRITE=1 for docs/cost.md
	@ENVIRONMENT=$(ENVIRONMENT) $(VENV) -m tools.capacity.cost $(if $(WRITE),--write)

redrive: setup ## send the dead letters of ENVIRONMENT to their sources again
	@ENVIRONMENT=$(ENVIRONMENT) $(VENV) -m tools.operate.redrive

webhook-secret: setup ## secrets for the receivers of ENVIRONMENT's webhooks that have none; URL=... for a new one
	@ENVIRONMENT=$(ENVIRONMENT) $(VENV) -m tools.operate.webhook_secrets $(if $(URL),--url '$(URL)')

release-hold: setup ## lift the legal hold of FILE_ID in ENVIRONMENT, so that its owner can delete it
	@ENVIRONMENT=$(ENVIRONMENT) $(VENV) -m tools.operate.legal_hold $(FILE_ID)

lint: setup ## ruff, mypy --strict and the direction of imports
	@$(VENV) -m ruff check .
	@$(VENV) -m ruff format --check .
	@$(TYPES)$(VENV) -m mypy
	@.venv/bin/lint-imports

check: ## ruff, mypy and the nearest tests of what changed since SINCE (default: the last commit), in FOR (10) seconds
	@$(PYTHON) tools/develop/setup.py
	@$(TYPES)$(VENV) -m tools.develop.check $(if $(SINCE),--since $(SINCE)) $(if $(FOR),--seconds $(FOR))

test: setup javascript ## every test that fits into ten minutes; TESTS=... for some files or folders
	@$(VENV) -m pytest $(WORKERS) -m "not slow" $(TESTS)

test-all: setup cdktf javascript ## the long ones too
	@$(VENV) -m pytest $(WORKERS)

judges: setup cdktf ## run checkov, parliament, statelint, asl-validator and terraform-compliance
	@$(VENV) -m pytest tests/judges

bench: setup javascript ## compare Sluice with its alternatives; ONLY=name,... for some; all take about an hour
	@$(VENV) -m tools.bench $(if $(ONLY),--only $(ONLY),--write)

scale: setup ## at which uploads a second AWS quotas give way; ENVIRONMENT=..., WRITE=1 for docs/scale.md
	@$(if $(filter command line environment,$(origin ENVIRONMENT)),ENVIRONMENT=$(ENVIRONMENT)) $(VENV) -m tools.capacity.scale $(if $(WRITE),--write)

lock: setup ## resolve the Pipfile into Pipfile.lock
	@$(VENV) -m tools.develop.lock

clean: ## remove the results of set-up and synthesis
	@rm -rf .venv .build cdktf.out node_modules tools/develop/chromium/node_modules $(foreach each,$(JAVASCRIPT),$(each)/node_modules $(each)/dist $(each)/.build)
