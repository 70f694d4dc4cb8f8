Feature: Every resource has an owner, a region and a provider that somebody chose

  Scenario Outline: everything that can be tagged is tagged
    Given I have resource that supports tags_all defined
    Then it must have tags_all
    And it must have <tag>
    And its value must match the "<value>" regex

    Examples:
      | tag         | value                        |
      | Project     | ^sluice$                     |
      | Environment | ^(local\|dev\|staging\|prod)$ |
      | Owner       | ^.+$                         |
      | ManagedBy   | ^terraform$                  |

  Scenario: the region is one of ours
    Given I have aws provider configured
    Then it must have region
    And its value must match the "^(us-east-1|eu-central-1)$" regex

  Scenario: the provider is pinned to one version
    Given I have aws provider configured
    Then it must have version_constraint
    And its value must match the "^5\.100\.0$" regex
